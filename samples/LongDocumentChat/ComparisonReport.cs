using System.Text.Json.Serialization;

namespace LongDocumentChat;

/// <summary>What --json prints: the pruned cache and, with the suffix dense, the unpruned 16-bit one.</summary>
internal sealed record ComparisonReport(
    [property: JsonPropertyName("questions")] int Questions,
    [property: JsonPropertyName("correct")] int Correct,
    [property: JsonPropertyName("correct_dense")] int CorrectDense,
    [property: JsonPropertyName("kv_bytes")] long KvBytes,
    [property: JsonPropertyName("kv_bytes_dense")] long KvBytesDense,
    [property: JsonPropertyName("prompt_tokens")] int PromptTokens,
    [property: JsonPropertyName("decode_tokens_per_second")] double DecodeTokensPerSecond,
    [property: JsonPropertyName("decode_tokens_per_second_dense")] double DecodeTokensPerSecondDense)
{
    public static ComparisonReport Create(Examination pruned, Examination dense) => new(
        pruned.Questions,
        pruned.Correct,
        dense.Correct,
        pruned.Totals.KvBytes,
        dense.Totals.KvBytes,
        pruned.Totals.PromptTokens,
        Math.Round(pruned.Totals.DecodeTokensPerSecond, 1),
        Math.Round(dense.Totals.DecodeTokensPerSecond, 1));
}
