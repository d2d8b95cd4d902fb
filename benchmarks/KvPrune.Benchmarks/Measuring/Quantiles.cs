namespace KvPrune.Benchmarks.Measuring;

internal static class Quantiles
{
    /// <summary>The quantile at <paramref name="fraction"/> with linear interpolation between the neighbours.</summary>
    public static double Of(IEnumerable<double> values, double fraction)
    {
        var sorted = values.Order().ToArray();
        var position = fraction * (sorted.Length - 1);
        var below = (int)position;
        var above = Math.Min(below + 1, sorted.Length - 1);
        return sorted[below] + ((position - below) * (sorted[above] - sorted[below]));
    }
}
