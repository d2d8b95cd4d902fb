using KvPrune.AI.Runtimes;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Engine;

/// <summary>The KV cache of a prompt up to a segment end, with the logits there.</summary>
internal sealed record CachedPrompt(
    int[] Tokens, int[] SegmentEnds, PruningPolicy Policy, IDecoderSequence Sequence, float[] Logits)
{
    /// <summary>
    /// Whether a prompt begins with this one. Compression happens at segment ends, so equal tokens with other ends are
    /// another cache: only the same ends make an answer independent of what happened to be cached.
    /// </summary>
    public bool IsPrefixOf(ReadOnlySpan<int> tokens, ReadOnlySpan<int> segmentEnds, PruningPolicy policy) =>
        segmentEnds.StartsWith(SegmentEnds) && tokens.StartsWith(Tokens) && Policy == policy;
}
