using KvPrune.Eval.Running;
using KvPrune.Eval.Statistics;

namespace KvPrune.Eval.Results;

/// <summary>All that was found out about a method in one mode. What was not measured is null or empty.</summary>
internal sealed record MethodRow
{
    public required string Method { get; init; }

    public required string Family { get; init; }

    /// <summary>Where the questions stood; perplexity and the like do not depend on it.</summary>
    public required AskMode Mode { get; init; }

    /// <summary>All bytes of compressed prompts over those of a dense 16-bit cache.</summary>
    public required double? BytesVsDense16 { get; init; }

    /// <summary>The same without the dense tail and the tokens in it, of the median prompt of the greatest length.</summary>
    public required double? SealedBytesVsDense16 { get; init; }

    /// <summary>Mean score over all samples but those that count words.</summary>
    public required Interval? Accuracy { get; init; }

    /// <summary>Of the accuracy, less the baseline's on the same samples.</summary>
    public required Interval? DifferenceToDense { get; init; }

    /// <summary>McNemar's p.</summary>
    public required double? DifferenceP { get; init; }

    /// <summary>Fraction of the samples of the accuracy whose whole answer was right.</summary>
    public required double? ExactMatch { get; init; }

    public required IReadOnlyDictionary<string, double> AccuracyByTask { get; init; }

    public required IReadOnlyDictionary<int, double> AccuracyByLength { get; init; }

    public required Interval? Ppl { get; init; }

    /// <summary>Perplexity over the baseline's on the same texts.</summary>
    public required Interval? PplVsDense { get; init; }

    /// <summary>Mean divergence from the baseline, in nats a token.</summary>
    public required Interval? Kl { get; init; }

    /// <summary>Fraction of the tokens at which the likeliest one is the baseline's.</summary>
    public required double? Top1 { get; init; }

    /// <summary>Samples of the accuracy.</summary>
    public required int Samples { get; init; }

    public required IReadOnlyList<DriftBucket> Drift { get; init; }

    public required double? RepeatedShare { get; init; }
}
