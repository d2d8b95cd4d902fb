namespace KvPrune.ModelBuilder;

/// <summary>What a build holds in memory and may lose; tests make both small.</summary>
/// <param name="BlockElements">Weights in memory at a time, in fp32 and once more in the stored form.</param>
/// <param name="CheckpointBytes">How much a build that is cut off has to write again at most, and one tensor more.</param>
internal sealed record WriteLimits(int BlockElements = 1 << 24, long CheckpointBytes = 256L << 20);
