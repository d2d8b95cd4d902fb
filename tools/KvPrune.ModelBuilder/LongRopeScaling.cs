namespace KvPrune.ModelBuilder;

/// <summary>
/// Phi-3's LongRoPE: each frequency has a divisor of its own, one set for sequences within the original context and one for
/// longer ones; cosines and sines grow by √(1 + ln(ContextLength / OriginalContext) / ln OriginalContext) unless the model names
/// its own factors. arXiv 2402.13753.
/// </summary>
/// <param name="ShortFactors">One divisor per rotated pair, for sequences of up to <paramref name="OriginalContext"/> tokens.</param>
/// <param name="LongFactors">One divisor per rotated pair, for longer sequences.</param>
/// <param name="OriginalContext">The context of the first training in tokens.</param>
/// <param name="ShortMagnitude">Factor of the short cosines and sines; null for the formula.</param>
/// <param name="LongMagnitude">Factor of the long cosines and sines; null for the formula.</param>
public sealed record LongRopeScaling(
    IReadOnlyList<double> ShortFactors,
    IReadOnlyList<double> LongFactors,
    int OriginalContext,
    double? ShortMagnitude = null,
    double? LongMagnitude = null) : RopeScaling;
