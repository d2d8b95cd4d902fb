namespace KvPrune.OnnxOps;

/// <summary>The bytes that a manager's sequences take. Shared tiles count once.</summary>
/// <param name="SealedBytes">Sealed tiles with their masks, scales and channel lists.</param>
/// <param name="TailBytes">
/// Dense tails and the scores of <see cref="TokenEviction.WhileDecoding"/>, including the copies that checkpoints hold.
/// </param>
/// <param name="StagingBytes">Dense prompt rows and observation queries of open segments.</param>
/// <param name="PeakBytes">The highest sum so far.</param>
/// <param name="Sequences">Sequences alive.</param>
/// <param name="WeightBytes">
/// What <see cref="KvCacheManager.SetOutputGram"/> gave; part of neither the limit nor the sums.
/// </param>
public readonly record struct KvCacheStatistics(
    long SealedBytes, long TailBytes, long StagingBytes, long PeakBytes, long Sequences, long WeightBytes)
{
    /// <summary>All bytes in use now.</summary>
    public long TotalBytes => SealedBytes + TailBytes + StagingBytes;
}
