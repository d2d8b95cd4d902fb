using KvPrune.AI.Models;
using KvPrune.Benchmarks.Measuring;

namespace KvPrune.Benchmarks.Model;

/// <summary>
/// Random rows that stand for a past that was never read, the same in every layer: a sequence of them costs no attention over
/// the prompt, and its bytes are those of a real one.
/// </summary>
internal sealed class FilledRows(GenAIModelFolder folder, int tokens)
{
    private const int Seed = 20240918;

    // More than any policy observes by default.
    private const int ObservedTokens = 64;

    public int Tokens => tokens;

    /// <summary>[KV heads, tokens, head size], as after the rotary embedding.</summary>
    public float[] Keys { get; } = NormalValues.Of(Seed, (long)folder.KvHeads * tokens * folder.HeadSize);

    /// <summary>[KV heads, tokens, head size].</summary>
    public float[] Values { get; } = NormalValues.Of(Seed + 1, (long)folder.KvHeads * tokens * folder.HeadSize);

    /// <summary>The queries of the last tokens, [tokens, query heads, head size].</summary>
    public float[] Queries { get; } =
        NormalValues.Of(Seed + 2, (long)Math.Min(ObservedTokens, tokens) * folder.QueryHeads * folder.HeadSize);
}
