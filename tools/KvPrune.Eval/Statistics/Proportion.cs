namespace KvPrune.Eval.Statistics;

/// <summary>Means of scores between 0 and 1.</summary>
internal static class Proportion
{
    /// <summary>
    /// The mean with Wilson's interval (J. Am. Stat. Assoc. 22, 1927). It is made for scores of 0 or 1; for others it is too
    /// wide rather than too narrow, as their variance is at most that of a proportion of the same mean.
    /// </summary>
    public static Interval Wilson(IReadOnlyCollection<double> scores)
    {
        double n = scores.Count, mean = scores.Average(), z2 = Interval.Z * Interval.Z;
        double center = (mean + (z2 / (2 * n))) / (1 + (z2 / n));
        double half = Interval.Z / (1 + (z2 / n)) * Math.Sqrt((mean * (1 - mean) / n) + (z2 / (4 * n * n)));
        return new(mean, Math.Max(0, center - half), Math.Min(1, center + half));
    }
}
