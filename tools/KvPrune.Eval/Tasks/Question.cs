namespace KvPrune.Eval.Tasks;

/// <summary>A question about a document and what answers it.</summary>
/// <param name="Text">The question.</param>
/// <param name="Answers">What a right answer holds, in any order and case.</param>
/// <param name="AnswerText">The whole answer in the form that the bundled model was trained to give.</param>
internal sealed record Question(string Text, IReadOnlyList<string> Answers, string AnswerText)
{
    /// <summary>A question with one answer.</summary>
    public Question(string text, string answer) : this(text, [answer], answer) { }

    /// <summary>The fraction of the answers that a text holds, whatever their case (the score of RULER, arXiv 2404.06654).</summary>
    public double Score(string text) => (double)Answers.Count(answer => text.Contains(answer, StringComparison.OrdinalIgnoreCase)) / Answers.Count;
}
