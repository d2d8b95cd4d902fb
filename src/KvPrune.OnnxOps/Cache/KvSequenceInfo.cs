namespace KvPrune.OnnxOps;

/// <summary>The state of one sequence.</summary>
/// <param name="Length">Committed tokens.</param>
/// <param name="SealedTokens">Of these, in sealed tiles.</param>
/// <param name="OpenSegmentTokens">
/// Announced and not yet committed tokens of the open segment; 0 when none is open, or a deferred one that is full.
/// </param>
/// <param name="SealedBytes">Bytes of all tiles it reads, shared ones included.</param>
/// <param name="TailBytes">
/// Bytes of its dense tail and of the scores that it keeps while decoding, those of checkpoints included.
/// </param>
/// <param name="StagingBytes">Bytes of the open segment's dense rows and observation queries.</param>
public readonly record struct KvSequenceInfo(
    long Length, long SealedTokens, long OpenSegmentTokens, long SealedBytes, long TailBytes, long StagingBytes)
{
    /// <summary>All bytes it reads or holds.</summary>
    public long TotalBytes => SealedBytes + TailBytes + StagingBytes;
}
