namespace KvPrune.Eval.Statistics;

/// <summary>How scores between 0 and 1 differ between two methods on the same samples.</summary>
internal static class PairedDifference
{
    /// <summary>
    /// The mean of <paramref name="own"/> less that of <paramref name="baseline"/>, with Bonett and Price's interval for
    /// paired proportions (J. Educ. Behav. Stat. 37, 2012): Wald's with one sample more in either direction, so that it does
    /// not shrink to nothing when no sample differs. Fractional scores count as fractions of a sample.
    /// </summary>
    public static Interval Of(IReadOnlyList<double> own, IReadOnlyList<double> baseline)
    {
        double n = own.Count, better = 0, worse = 0;
        for (int i = 0; i < own.Count; i++)
        {
            better += Math.Max(0, own[i] - baseline[i]);
            worse += Math.Max(0, baseline[i] - own[i]);
        }
        double p = (better + 1) / (n + 2), q = (worse + 1) / (n + 2), middle = p - q;
        double half = Interval.Z * Math.Sqrt((p + q - (middle * middle)) / (n + 2));
        return new((better - worse) / n, Math.Max(-1, middle - half), Math.Min(1, middle + half));
    }

    /// <summary>
    /// McNemar's exact test (Psychometrika 12, 1947): the probability of a difference at least this large, in either
    /// direction, if both methods were equally good. Samples with a higher score on one side count for that side.
    /// </summary>
    public static double McNemar(IReadOnlyList<double> own, IReadOnlyList<double> baseline)
    {
        int better = 0, worse = 0;
        for (int i = 0; i < own.Count; i++)
        {
            if (own[i] > baseline[i]) better++;
            else if (own[i] < baseline[i]) worse++;
        }
        int n = better + worse;
        double tail = 0, logCombinations = 0; // ln of n over k
        for (int k = 0; k <= Math.Min(better, worse); k++)
        {
            tail += Math.Exp(logCombinations - (n * Math.Log(2)));
            logCombinations += Math.Log(n - k) - Math.Log(k + 1);
        }
        return Math.Min(1, 2 * tail);
    }
}
