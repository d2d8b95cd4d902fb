namespace KvPrune.Eval.Statistics;

/// <summary>An estimate with its 95 % confidence interval.</summary>
internal readonly record struct Interval(double Value, double Low, double High)
{
    /// <summary>The 97.5 % quantile of the normal distribution.</summary>
    public const double Z = 1.959963984540054;
}
