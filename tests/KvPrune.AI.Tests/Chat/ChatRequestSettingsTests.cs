using System.Text.Json;
using KvPrune.AI.Chat;
using KvPrune.AI.Sampling;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Tests.Chat;

public sealed class ChatRequestSettingsTests(BundledClient bundled)
{
    private static readonly SamplingOptions Sampling = new() { Temperature = 0.6f, TopK = 20, TopP = 0.95f };
    private static readonly SamplingOptions GreedyTopK = new() { TopK = 1, TopP = 0.9f };

    [Fact]
    public void Values_that_a_request_leaves_unset_are_those_of_a_folder_that_samples()
    {
        Assert.Equal(Sampling, Read(new(), Sampling));
        Assert.Equal(Sampling with { Seed = 5 }, Read(new() { Seed = 5 }, Sampling));
        Assert.Equal(Sampling with { Temperature = 1.2f }, Read(new() { Temperature = 1.2f }, Sampling));
        Assert.Equal(Sampling with { TopK = 3, TopP = 0.5f }, Read(new() { TopK = 3, TopP = 0.5f }, Sampling));
        Assert.True(Read(new() { Temperature = 0 }, Sampling).IsGreedy);
    }

    [Fact]
    public void A_greedy_folder_lends_no_values_to_a_request_that_samples()
    {
        foreach (SamplingOptions greedy in new[] { SamplingOptions.Greedy, GreedyTopK })
        {
            Assert.True(Read(new() { Seed = 5 }, greedy).IsGreedy);
            Assert.Equal(new SamplingOptions { Temperature = 1.2f }, Read(new() { Temperature = 1.2f }, greedy));
            Assert.Equal(new SamplingOptions { TopP = 0.5f, Seed = 2 }, Read(new() { TopP = 0.5f, Seed = 2 }, greedy));
        }
    }

    [Fact]
    public void A_raw_representation_comes_first_and_one_of_another_type_is_ignored()
    {
        var options = new ChatOptions { Temperature = 1.2f, TopK = 7, RawRepresentationFactory = _ => new SamplingOptions { TopK = 3 } };
        Assert.Equal(new SamplingOptions { Temperature = 1.2f, TopK = 3 }, Read(options, SamplingOptions.Greedy));
        options.RawRepresentationFactory = _ => "other";
        Assert.Equal(new SamplingOptions { Temperature = 1.2f, TopK = 7 }, Read(options, SamplingOptions.Greedy));
    }

    [Fact]
    public void Penalties_and_bias_come_from_the_request_and_leave_a_greedy_answer_greedy()
    {
        var bias = new Dictionary<int, float> { [7] = -100 };
        var options = new ChatOptions { FrequencyPenalty = 0.5f, PresencePenalty = -0.5f, AdditionalProperties = new() { ["logit_bias"] = bias } };
        SamplingOptions read = Read(options, SamplingOptions.Greedy with { RepetitionPenalty = 1.1f });
        Assert.True(read.IsGreedy);
        Assert.Equal((1.1f, 0.5f, -0.5f), (read.RepetitionPenalty, read.FrequencyPenalty, read.PresencePenalty));
        bias[8] = 100; // too late for the request
        Assert.Equal([new(7, -100f)], read.LogitBias!);
        options.Temperature = 1;
        Assert.Equal(1.1f, Read(options, SamplingOptions.Greedy with { RepetitionPenalty = 1.1f }).RepetitionPenalty);
        options.RawRepresentationFactory = _ => new SamplingOptions { RepetitionPenalty = 1, MinP = 0.1f };
        Assert.Equal((1f, 0.1f), (Read(options, Sampling).RepetitionPenalty, Read(options, Sampling).MinP));
    }

    [Fact]
    public void Logit_bias_may_be_json_and_what_it_cannot_be_is_said()
    {
        SamplingOptions ReadBias(object bias) =>
            Read(new() { AdditionalProperties = new() { ["logit_bias"] = bias } }, SamplingOptions.Greedy);
        Assert.Equal([new(12, -100f), new(5, 0.5f)], ReadBias(JsonSerializer.SerializeToElement(new Dictionary<string, double> { ["12"] = -100, ["5"] = 0.5 })).LogitBias!);
        Assert.Contains("'x'", Assert.Throws<ArgumentException>(() => ReadBias(JsonSerializer.SerializeToElement(new { x = 1 }))).Message, StringComparison.Ordinal);
        Assert.Contains("String", Assert.Throws<ArgumentException>(() => ReadBias("12")).Message, StringComparison.Ordinal);
    }

    private SamplingOptions Read(ChatOptions options, SamplingOptions defaults) =>
        ChatRequestSettings.ReadSampling(options, defaults, bundled.Client);
}
