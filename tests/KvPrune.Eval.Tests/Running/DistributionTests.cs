using KvPrune.Eval.Running;

namespace KvPrune.Eval.Tests.Running;

public sealed class DistributionTests
{
    [Fact]
    public void Logits_become_the_logarithms_of_probabilities_wherever_they_lie()
    {
        double[] near = new double[3], far = new double[3];
        Distribution.LogProbabilities([0, MathF.Log(2), float.NegativeInfinity], near);
        Distribution.LogProbabilities([1000, 1000 + MathF.Log(2), float.NegativeInfinity], far);
        Assert.Equal(1 / 3.0, Math.Exp(near[0]), 6);
        Assert.Equal(2 / 3.0, Math.Exp(near[1]), 6);
        Assert.Equal(0, Math.Exp(near[2]));
        Assert.Equal(near[1], far[1], 4);
    }

    [Fact]
    public void Divergence_is_the_textbook_sum()
    {
        double[] half = [Math.Log(0.5), Math.Log(0.5)], quarter = [Math.Log(0.25), Math.Log(0.75)];
        Assert.Equal((0.5 * Math.Log(2)) + (0.5 * Math.Log(2 / 3.0)), Distribution.Divergence(half, quarter), 12);
        Assert.Equal(0, Distribution.Divergence(half, half));
    }

    [Fact]
    public void Logits_that_are_no_numbers_are_an_error() =>
        Assert.Throws<InvalidDataException>(() => Distribution.LogProbabilities([1, float.NaN], new double[2]));
}
