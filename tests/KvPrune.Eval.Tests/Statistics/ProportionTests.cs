using KvPrune.Eval.Statistics;

namespace KvPrune.Eval.Tests.Statistics;

public sealed class ProportionTests
{
    // Worked out by hand from Wilson's formula with z = 1.959964.
    [Theory]
    [InlineData(0, 10, 0.0000, 0.2775)]
    [InlineData(8, 10, 0.4902, 0.9433)]
    [InlineData(10, 10, 0.7225, 1.0000)]
    [InlineData(950, 1000, 0.9347, 0.9619)]
    public void Wilsons_interval_has_its_known_bounds(int right, int all, double low, double high)
    {
        Interval interval = Proportion.Wilson([.. Enumerable.Range(0, all).Select(i => i < right ? 1.0 : 0.0)]);
        Assert.Equal((double)right / all, interval.Value, 12);
        Assert.Equal(low, interval.Low, 4);
        Assert.Equal(high, interval.High, 4);
    }

    [Fact]
    public void Fractional_scores_have_the_interval_of_a_proportion_with_their_mean() =>
        Assert.Equal(Proportion.Wilson([1, 1, 0, 0]), Proportion.Wilson([0.5, 0.5, 0.5, 0.5]));
}
