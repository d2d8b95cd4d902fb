using KvPrune.Eval.Statistics;

namespace KvPrune.Eval.Tests.Statistics;

public sealed class PairedDifferenceTests
{
    [Fact]
    public void The_interval_is_Bonett_and_Prices()
    {
        // 20 samples, better on 1, worse on 5: p = 2/22, q = 6/22, middle -4/22, half = z √((8/22 - 16/484) / 22).
        Interval interval = Difference(same: 14, better: 1, worse: 5);
        double half = 1.959963984540054 * Math.Sqrt(((8 / 22.0) - (16 / 484.0)) / 22);
        Assert.Equal(-4 / 20.0, interval.Value, 12);
        Assert.Equal((-4 / 22.0) - half, interval.Low, 12);
        Assert.Equal((-4 / 22.0) + half, interval.High, 12);
    }

    [Fact]
    public void No_difference_still_has_a_width_which_shrinks_with_the_samples()
    {
        Interval few = Difference(same: 50, better: 0, worse: 0), many = Difference(same: 5000, better: 0, worse: 0);
        Assert.Equal(0, few.Value);
        Assert.True(few.Low < 0 && few.High > 0);
        Assert.True(many.High < few.High / 10);
    }

    // Two-sided binomial tails: 2 · 0.5^5, 2 · (1 + 6) / 2^6, 2 · (1 + 8 + 28) / 2^8.
    [Theory]
    [InlineData(0, 5, 0.0625)]
    [InlineData(5, 0, 0.0625)]
    [InlineData(1, 5, 0.21875)]
    [InlineData(2, 6, 0.2890625)]
    [InlineData(3, 3, 1)]
    [InlineData(0, 0, 1)]
    public void McNemars_p_is_exact(int better, int worse, double p)
    {
        (double[] own, double[] baseline) = Scores(same: 7, better, worse);
        Assert.Equal(p, PairedDifference.McNemar(own, baseline), 9);
    }

    [Fact]
    public void McNemars_p_does_not_underflow_with_thousands_of_differences()
    {
        (double[] own, double[] baseline) = Scores(same: 0, better: 1000, worse: 1000);
        Assert.InRange(PairedDifference.McNemar(own, baseline), 0.99, 1);
    }

    private static Interval Difference(int same, int better, int worse)
    {
        (double[] own, double[] baseline) = Scores(same, better, worse);
        return PairedDifference.Of(own, baseline);
    }

    private static (double[] Own, double[] Baseline) Scores(int same, int better, int worse) => (
        [.. Enumerable.Repeat(1.0, same), .. Enumerable.Repeat(1.0, better), .. Enumerable.Repeat(0.0, worse)],
        [.. Enumerable.Repeat(1.0, same), .. Enumerable.Repeat(0.0, better), .. Enumerable.Repeat(1.0, worse)]);
}
