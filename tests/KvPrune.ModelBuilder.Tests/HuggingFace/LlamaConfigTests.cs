using System.Text.Json.Nodes;
using KvPrune.ModelBuilder.HuggingFace;

namespace KvPrune.ModelBuilder.Tests.HuggingFace;

public sealed class LlamaConfigTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private LlamaConfig Load(Action<JsonObject>? change = null, string? generation = null)
    {
        var config = Checkpoint.Config(Checkpoint.Shape);
        change?.Invoke(config);
        Checkpoint.WriteConfig(_folder.Path, config);
        if (generation is not null)
            File.WriteAllText(_folder["generation_config.json"], generation);
        return LlamaConfig.Load(_folder.Path);
    }

    [Fact]
    public void Reads_the_sizes() => Assert.Equal(Checkpoint.Shape, Load().Shape);

    [Fact]
    public void Missing_optional_properties_take_the_defaults_of_the_architecture()
    {
        var shape = Load(c =>
        {
            foreach (var name in (string[])["num_key_value_heads", "head_dim", "rope_theta", "rms_norm_eps", "tie_word_embeddings"])
                c.Remove(name);
        }).Shape;

        Assert.Equal(
            Checkpoint.Shape with { KvHeads = 4, HeadSize = 16, RopeTheta = 10_000, NormEpsilon = 1e-6f, TiedEmbeddings = false }, shape);
    }

    [Fact]
    public void Generation_settings_win_over_the_model_configuration()
    {
        var config = Load(generation: """{"eos_token_id":[299,295],"bos_token_id":1,"do_sample":true}""");

        Assert.Equal([299, 295], config.Tokens.Eos);
        Assert.Equal(1, config.Tokens.Bos);
        Assert.Equal(295, config.Tokens.Pad);
        Assert.Equal(SearchSettings.Default with { Sample = true }, config.Search);
    }

    [Fact]
    public void Sampling_settings_are_carried_over()
    {
        var config = Load(generation: """{"do_sample":true,"temperature":0.6,"top_k":20,"top_p":0.9,"repetition_penalty":1.1}""");

        Assert.Equal(new SearchSettings(Sample: true, Temperature: 0.6, TopK: 20, TopP: 0.9, RepetitionPenalty: 1.1), config.Search);
    }

    [Fact]
    public void A_top_k_of_zero_keeps_every_token() =>
        Assert.Equal(Checkpoint.Shape.Vocabulary, Load(generation: """{"do_sample":true,"top_k":0}""").Search.TopK);

    [Theory]
    [InlineData("temperature", "-0.5")]
    [InlineData("temperature", "1e999")]
    [InlineData("temperature", "\"hot\"")]
    [InlineData("top_k", "-1")]
    [InlineData("top_k", "2.5")]
    [InlineData("top_p", "1.5")]
    [InlineData("top_p", "0")]
    [InlineData("repetition_penalty", "0")]
    [InlineData("do_sample", "\"\\ud800\"")]
    public void Refuses_sampling_settings_that_no_sampler_takes(string property, string json)
    {
        var error = Assert.Throws<ModelSourceException>(() => Load(generation: $$"""{"{{property}}":{{json}}}"""));

        Assert.Equal(property, error.Entry);
        Assert.Equal(_folder["generation_config.json"], error.File);
    }

    [Fact]
    public void The_rotary_base_may_stand_in_rope_parameters()
    {
        var shape = Load(c =>
        {
            c.Remove("rope_theta");
            c["rope_parameters"] = JsonNode.Parse("""{"rope_type":"default","rope_theta":12345.0}""");
        }).Shape;

        Assert.Equal(12_345, shape.RopeTheta);
    }

    [Theory]
    [InlineData("architectures", """["MistralForCausalLM"]""", "MistralForCausalLM")]
    [InlineData("architectures", "[1]", "LlamaForCausalLM")]
    [InlineData("architectures", "[null]", "LlamaForCausalLM")]
    [InlineData("architectures", "\"MistralForCausalLM\"", "MistralForCausalLM")]
    [InlineData("attention_bias", "true", "bias")]
    [InlineData("mlp_bias", "true", "bias")]
    [InlineData("mlp_bias", "1", "neither true nor false")]
    [InlineData("hidden_act", "\"gelu\"", "gelu")]
    [InlineData("hidden_act", "3", "not a text")]
    [InlineData("rope_scaling", """{"rope_type":"llama3","factor":32.0}""", "llama3")]
    [InlineData("rope_scaling", """{"type":"linear","factor":2.0}""", "linear")]
    [InlineData("rope_parameters", """{"rope_type":"yarn","rope_theta":1e6}""", "yarn")]
    [InlineData("rope_theta", "\"much\"", "not a number")]
    [InlineData("quantization_config", """{"quant_method":"gptq"}""", "not supported")]
    [InlineData("sliding_window", "4096", "not supported")]
    [InlineData("hidden_size", "1.5", "1.5")]
    [InlineData("hidden_size", "null", "missing")]
    [InlineData("eos_token_id", "null", "missing")]
    [InlineData("eos_token_id", "\"</s>\"", "token id")]
    [InlineData("vocab_size", "100", "100")]
    public void Refuses_what_it_cannot_translate(string property, string json, string expected)
    {
        var error = Assert.Throws<ModelSourceException>(() => Load(c => c[property] = JsonNode.Parse(json)));

        Assert.Equal(property, error.Entry);
        Assert.Equal(_folder["config.json"], error.File);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("num_key_value_heads", 3, "KvHeads")]
    [InlineData("num_hidden_layers", 0, "Layers")]
    [InlineData("head_dim", 15, "HeadSize")]
    [InlineData("rms_norm_eps", -1, "NormEpsilon")]
    public void Refuses_sizes_that_do_not_fit(string property, int value, string expected)
    {
        var error = Assert.Throws<ModelSourceException>(() => Load(c => c[property] = value));

        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    // JSON lets half of a surrogate pair through; no text can hold one.
    [Theory]
    [InlineData("architectures", "[\"\\ud800\"]")]
    [InlineData("hidden_act", "\"\\udc00silu\"")]
    [InlineData("hidden_size", "\"\\ud800\"")]
    [InlineData("rope_scaling", "{\"rope_type\":\"\\ud800\"}")]
    [InlineData("unused", "[{\"\\ud800\":1}]")]
    public void Refuses_text_with_half_a_surrogate_pair(string property, string json)
    {
        File.WriteAllText(_folder["config.json"], $$"""{"{{property}}":{{json}}}""");

        var error = Assert.Throws<ModelSourceException>(() => LlamaConfig.Load(_folder.Path));

        Assert.Equal(property, error.Entry);
        Assert.Equal(_folder["config.json"], error.File);
    }

    [Fact]
    public void Refuses_a_property_name_with_half_a_surrogate_pair()
    {
        File.WriteAllText(_folder["config.json"], """{"\ud800":1}""");

        Assert.Equal(_folder["config.json"], Assert.Throws<ModelSourceException>(() => LlamaConfig.Load(_folder.Path)).File);
    }

    [Fact]
    public void Names_a_missing_and_a_broken_file()
    {
        Assert.Contains("config.json", Assert.Throws<ModelSourceException>(() => LlamaConfig.Load(_folder.Path)).Message, StringComparison.Ordinal);
        File.WriteAllText(_folder["config.json"], "{\"vocab_size\":");
        Assert.Contains("JSON", Assert.Throws<ModelSourceException>(() => LlamaConfig.Load(_folder.Path)).Message, StringComparison.Ordinal);
    }

    public void Dispose() => _folder.Dispose();
}
