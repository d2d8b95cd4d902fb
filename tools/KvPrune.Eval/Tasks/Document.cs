namespace KvPrune.Eval.Tasks;

/// <summary>A generated document.</summary>
/// <param name="Text">What is read before the question.</param>
/// <param name="First">The question that a compressed prompt ends with.</param>
/// <param name="Second">One about something else in it, asked after the first answer; null where there is nothing else.</param>
internal sealed record Document(string Text, Question First, Question? Second);
