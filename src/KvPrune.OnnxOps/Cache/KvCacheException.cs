namespace KvPrune.OnnxOps;

/// <summary>A cache operation failed; <see cref="Status"/> says how, the message names the culprit.</summary>
public sealed class KvCacheException : Exception
{
    /// <summary>A failure with the native library's status and message.</summary>
    public KvCacheException(KvCacheStatus status, string message)
        : base(message) => Status = status;

    /// <summary>What kind of failure it was.</summary>
    public KvCacheStatus Status { get; }
}
