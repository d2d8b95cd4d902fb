using KvPrune.Eval.Statistics;

namespace KvPrune.Eval.Tests.Statistics;

public sealed class BootstrapTests
{
    [Fact]
    public void The_interval_is_that_of_the_normal_approximation_for_many_values()
    {
        var random = new Random(3);
        double[] values = [.. Enumerable.Range(0, 500).Select(_ => random.NextDouble())];
        Interval interval = Bootstrap.Mean(values);
        double mean = values.Average(), error = Math.Sqrt(values.Average(value => (value - mean) * (value - mean)) / values.Length);
        Assert.Equal(mean, interval.Value, 12);
        Assert.Equal(mean - (1.96 * error), interval.Low, 0.25 * error);
        Assert.Equal(mean + (1.96 * error), interval.High, 0.25 * error);
    }

    [Fact]
    public void Equal_values_have_no_width()
    {
        Interval interval = Bootstrap.Mean([2, 2, 2]);
        Assert.Equal(new Interval(2, 2, 2), interval);
    }
}
