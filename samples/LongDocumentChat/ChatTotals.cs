using KvPrune.AI.Engine;

namespace LongDocumentChat;

/// <summary>A whole conversation's figures.</summary>
/// <param name="PromptTokens">Tokens of the last prompt, which repeats the whole conversation.</param>
/// <param name="KvBytes">Bytes of the KV cache after the last answer, dense tail included.</param>
/// <param name="KvBytesDense16">Bytes that the same tokens take unpruned in 16-bit.</param>
/// <param name="PromptTokensPerSecond">Prompt tokens that were read, not found in the cache, over the time that took.</param>
/// <param name="DecodeTokensPerSecond">Answer tokens after the first over the time they took.</param>
internal sealed record ChatTotals(
    int PromptTokens, long KvBytes, long KvBytesDense16, double PromptTokensPerSecond, double DecodeTokensPerSecond)
{
    /// <summary>Sums up; null when nothing was answered.</summary>
    public static ChatTotals? Create(IReadOnlyList<GenerationStatistics> answers)
    {
        if (answers.Count == 0)
            return null;
        var last = answers[^1];
        return new ChatTotals(
            last.PromptTokens,
            last.KvBytes,
            last.KvBytesDense16,
            Rate(answers.Sum(a => a.PromptTokens - a.CachedTokens), answers.Sum(a => a.Prefill.TotalSeconds)),
            Rate(answers.Sum(a => a.GeneratedTokens - 1), answers.Sum(a => a.Decode.TotalSeconds)));
    }

    private static double Rate(int tokens, double seconds) => seconds > 0 ? tokens / seconds : 0;
}
