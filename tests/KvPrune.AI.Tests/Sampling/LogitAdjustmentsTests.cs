using KvPrune.AI.Sampling;

namespace KvPrune.AI.Tests.Sampling;

public class LogitAdjustmentsTests
{
    [Fact]
    public void Adjusted_logits_are_those_of_the_formulas()
    {
        var random = new Random(1);
        for (int round = 0; round < 200; round++)
        {
            float[] logits = [.. Enumerable.Range(0, 30).Select(_ => (float)((random.NextDouble() * 8) - 4))];
            int[] prompt = [.. Enumerable.Range(0, random.Next(0, 10)).Select(_ => random.Next(30))];
            int[] answer = [.. Enumerable.Range(0, random.Next(0, 10)).Select(_ => random.Next(30))];
            var options = new SamplingOptions
            {
                RepetitionPenalty = random.Next(2) == 0 ? null : 0.5f + random.NextSingle(),
                FrequencyPenalty = random.Next(2) == 0 ? null : (random.NextSingle() * 4) - 2,
                PresencePenalty = random.Next(2) == 0 ? null : (random.NextSingle() * 4) - 2,
                LogitBias = random.Next(2) == 0 ? null : new Dictionary<int, float> { [3] = -1.5f, [29] = float.NegativeInfinity },
            };
            var adjustments = new LogitAdjustments(options, prompt);
            foreach (int token in answer) adjustments.Add(token);
            float[] before = [.. logits];
            ReadOnlySpan<float> adjusted = adjustments.Apply(logits);
            for (int token = 0; token < logits.Length; token++)
            {
                double expected = logits[token];
                if (prompt.Concat(answer).Contains(token))
                    expected = expected > 0 ? expected / (options.RepetitionPenalty ?? 1) : expected * (options.RepetitionPenalty ?? 1);
                int count = answer.Count(drawn => drawn == token);
                expected -= (options.FrequencyPenalty ?? 0) * count;
                if (count > 0) expected -= options.PresencePenalty ?? 0;
                if (options.LogitBias?.TryGetValue(token, out float bias) is true) expected += bias;
                Assert.Equal(expected, adjusted[token], 1e-5);
            }
            Assert.Equal(before, logits);
        }
    }

    [Fact]
    public void Neutral_values_pass_the_logits_through()
    {
        float[] logits = [1, -2, 3];
        var adjustments = new LogitAdjustments(
            new() { RepetitionPenalty = 1, FrequencyPenalty = 0, PresencePenalty = 0, LogitBias = new Dictionary<int, float>() }, [0, 1]);
        adjustments.Add(2);
        Assert.True(adjustments.Apply(logits) == logits.AsSpan());
    }

    [Fact]
    public void Impossible_values_are_refused_by_name()
    {
        AssertRefused("MinP", new() { MinP = -0.1f });
        AssertRefused("MinP", new() { MinP = float.NaN });
        AssertRefused("RepetitionPenalty", new() { RepetitionPenalty = 0 });
        AssertRefused("FrequencyPenalty", new() { FrequencyPenalty = float.PositiveInfinity });
        AssertRefused("PresencePenalty", new() { PresencePenalty = float.NaN });
        AssertRefused("token -1", new() { LogitBias = new Dictionary<int, float> { [-1] = 1 } });
        AssertRefused("LogitBias", new() { LogitBias = new Dictionary<int, float> { [7] = float.NaN } });
    }

    private static void AssertRefused(string name, SamplingOptions options) =>
        Assert.Contains(name, Assert.Throws<ArgumentException>(options.Validate).Message, StringComparison.Ordinal);
}
