using KvPrune.AI.Engine;
using KvPrune.AI.Sampling;

namespace KvPrune.AI.Tests.Sampling;

public class TokenSamplerTests
{
    [Fact]
    public void Greedy_takes_the_first_of_the_largest_logits()
    {
        Assert.Equal(2, new TokenSampler(SamplingOptions.Greedy).Sample([-1, 3, 7, 7, -0f]));
        Assert.Equal(1, new TokenSampler(new() { TopK = 1, Temperature = 5 }).Sample([-1, 3, 2]));
    }

    [Theory]
    [InlineData(0.7f, null, null, null)]
    [InlineData(1.3f, 5, null, null)]
    [InlineData(1f, null, 0.8f, null)]
    [InlineData(0.9f, null, 0.3f, 0f)]
    [InlineData(2f, 12, 0.6f, null)]
    [InlineData(1f, 100, 0.999f, null)]
    [InlineData(1.5f, null, null, 0.2f)]
    [InlineData(1f, 6, null, 0.5f)]
    [InlineData(2f, 20, 0.9f, 0.3f)]
    [InlineData(1f, null, null, 1f)]
    public void Frequencies_follow_the_distribution_of_a_naive_implementation(float temperature, int? topK, float? topP, float? minP)
    {
        const int draws = 40_000;
        float[] logits = RandomLogits(new Random(3), 40);
        logits[7] = logits[8]; // a tie
        double[] expected = NaiveDistribution(logits, temperature, topK ?? int.MaxValue, topP ?? 1, minP ?? 0);
        var sampler = new TokenSampler(new() { Temperature = temperature, TopK = topK, TopP = topP, MinP = minP, Seed = 11 });
        var counts = new int[logits.Length];
        for (int i = 0; i < draws; i++) counts[sampler.Sample(logits)]++;
        for (int token = 0; token < logits.Length; token++)
        {
            // Five standard deviations: a right sampler passes, for this seed and practically for any other.
            double deviation = Math.Sqrt(draws * expected[token] * (1 - expected[token]));
            Assert.InRange(counts[token], (draws * expected[token]) - (5 * deviation), (draws * expected[token]) + (5 * deviation));
        }
    }

    [Fact]
    public void Only_tokens_of_the_naive_nucleus_are_drawn_from_a_large_vocabulary()
    {
        var random = new Random(5);
        for (int round = 0; round < 12; round++)
        {
            float[] logits = RandomLogits(random, 2_000);
            float topP = 0.05f + (0.9f * random.NextSingle());
            double[] expected = NaiveDistribution(logits, 1, int.MaxValue, topP, 0);
            var sampler = new TokenSampler(new() { Temperature = 1, TopP = topP, Seed = round });
            for (int i = 0; i < 200; i++)
            {
                int token = sampler.Sample(logits);
                Assert.True(expected[token] > 0, $"round {round}: token {token} is outside the nucleus of {topP}");
            }
        }
    }

    [Fact]
    public void Equal_seeds_draw_equal_tokens_and_other_seeds_draw_others()
    {
        float[] logits = RandomLogits(new Random(7), 500);
        int[] Draw(long seed)
        {
            var sampler = new TokenSampler(new() { Temperature = 1, TopP = 0.9f, Seed = seed });
            return [.. Enumerable.Range(0, 50).Select(_ => sampler.Sample(logits))];
        }
        Assert.Equal(Draw(42), Draw(42));
        Assert.NotEqual(Draw(42), Draw(43));
        Assert.NotEqual(Draw(42), Draw(42L << 32));
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void Broken_logits_are_reported_with_the_token(float broken)
    {
        float[] logits = RandomLogits(new Random(9), 100);
        logits[63] = broken;
        foreach (SamplingOptions options in new[] { SamplingOptions.Greedy, new() { Temperature = 1, TopK = 5 }, new() { TopP = 0.5f } })
        {
            var error = Assert.Throws<GenerationException>(() => new TokenSampler(options).Sample(logits));
            Assert.Contains("63", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Masked_tokens_are_never_drawn()
    {
        float[] logits = [float.NegativeInfinity, 0, float.NegativeInfinity, 0];
        foreach (SamplingOptions options in new SamplingOptions[] { new() { Temperature = 3 }, new() { TopK = 3 }, new() { TopP = 0.99f } })
        {
            var sampler = new TokenSampler(options with { Seed = 1 });
            Assert.All(Enumerable.Range(0, 300), _ => Assert.Contains(sampler.Sample(logits), new[] { 1, 3 }));
        }
        Assert.Throws<GenerationException>(() => new TokenSampler(SamplingOptions.Greedy).Sample([float.NegativeInfinity]));
    }

    [Theory]
    [InlineData(-1f, null, null, "Temperature")]
    [InlineData(float.NaN, null, null, "Temperature")]
    [InlineData(1f, 0, null, "TopK")]
    [InlineData(1f, null, 0f, "TopP")]
    [InlineData(1f, null, 1.5f, "TopP")]
    public void Impossible_settings_are_refused_by_name(float temperature, int? topK, float? topP, string name) =>
        Assert.Contains(name, Assert.Throws<ArgumentException>(
            () => new TokenSampler(new() { Temperature = temperature, TopK = topK, TopP = topP })).Message, StringComparison.Ordinal);

    private static float[] RandomLogits(Random random, int count) =>
        [.. Enumerable.Range(0, count).Select(_ => (float)((random.NextDouble() * 8) - 4))];

    private static double[] NaiveDistribution(float[] logits, float temperature, int topK, float topP, float minP)
    {
        int[] order = [.. Enumerable.Range(0, logits.Length).OrderByDescending(i => logits[i]).ThenBy(i => i).Take(topK)];
        double[] weights = [.. order.Select(i => Math.Exp(((double)logits[i] - logits[order[0]]) / temperature))];
        double total = weights.Sum(), sum = 0;
        var result = new double[logits.Length];
        for (int i = 0; i < order.Length; i++)
        {
            result[order[i]] = weights[i] >= minP * weights[0] ? weights[i] : 0;
            sum += weights[i];
            if (sum >= topP * total) break;
        }
        sum = result.Sum();
        for (int i = 0; i < result.Length; i++) result[i] /= sum;
        return result;
    }
}
