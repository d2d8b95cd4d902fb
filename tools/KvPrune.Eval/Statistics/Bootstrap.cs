namespace KvPrune.Eval.Statistics;

/// <summary>Means of values whose distribution is not known.</summary>
internal static class Bootstrap
{
    private const int Resamples = 2000;

    /// <summary>The mean with the percentile interval of the bootstrap (Efron and Tibshirani 1993, section 13.3), the same at every call.</summary>
    public static Interval Mean(IReadOnlyList<double> values)
    {
        var random = new Random(1);
        var means = new double[Resamples];
        for (int resample = 0; resample < Resamples; resample++)
        {
            double sum = 0;
            for (int i = 0; i < values.Count; i++) sum += values[random.Next(values.Count)];
            means[resample] = sum / values.Count;
        }
        Array.Sort(means);
        return new(values.Average(), means[(int)(0.025 * Resamples)], means[(int)(0.975 * Resamples) - 1]);
    }
}
