using KvPrune.Eval.Tasks;

namespace KvPrune.Eval.Running;

/// <summary>A prompt to be answered.</summary>
/// <param name="Task">The name of its task.</param>
/// <param name="Length">The most tokens it was made for.</param>
/// <param name="Index">Its number among those of this task and length.</param>
/// <param name="Tokens">Document and first question.</param>
/// <param name="DocumentTokens">How many of the tokens come before the question.</param>
/// <param name="First">The first question.</param>
/// <param name="FollowUp">Tokens that ask the second question after an answer to the first; empty where there is none.</param>
/// <param name="Second">The second question.</param>
internal sealed record Sample(
    string Task, int Length, int Index, int[] Tokens, int DocumentTokens, Question First, int[] FollowUp, Question? Second);
