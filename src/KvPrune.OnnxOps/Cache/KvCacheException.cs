using System.Globalization;
using System.Text.RegularExpressions;

namespace KvPrune.OnnxOps;

/// <summary>A cache operation failed; <see cref="Status"/> says how, the message names the culprit.</summary>
public sealed partial class KvCacheException : Exception
{
    /// <summary>A failure with the native library's status and message.</summary>
    public KvCacheException(KvCacheStatus status, string message)
        : base(message) => Status = status;

    private KvCacheException(KvCacheStatus status, string message, Exception innerException)
        : base(message, innerException) => Status = status;

    /// <summary>What kind of failure it was.</summary>
    public KvCacheStatus Status { get; }

    /// <summary>
    /// What the pruned operator reported when a run of the graph failed in it; null when the failure came from elsewhere.
    /// </summary>
    /// <param name="failure">What ONNX Runtime, or whatever ran it, threw.</param>
    public static KvCacheException? FromRun(Exception failure)
    {
        ArgumentNullException.ThrowIfNull(failure);
        return OperatorStatus().Match(failure.Message) is { Success: true } match
            && int.TryParse(match.Groups[1].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture, out var status)
            ? new KvCacheException((KvCacheStatus)status, match.Groups[2].Value, failure)
            : null;
    }

    // ONNX Runtime carries text only, so the operator puts its status in front of its message.
    [GeneratedRegex("kvprune status ([0-9]+): (.*)", RegexOptions.Singleline)]
    private static partial Regex OperatorStatus();
}
