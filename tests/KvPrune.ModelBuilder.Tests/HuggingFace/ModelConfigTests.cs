using System.Text.Json;
using System.Text.Json.Nodes;
using KvPrune.ModelBuilder.HuggingFace;
using KvPrune.ModelBuilder.Tests.Onnx;

namespace KvPrune.ModelBuilder.Tests.HuggingFace;

public sealed class ModelConfigTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private ModelConfig Load(Action<JsonObject>? change = null, string? generation = null, ModelShape? shape = null)
    {
        var config = Checkpoint.Config(shape ?? Checkpoint.Shape);
        change?.Invoke(config);
        Checkpoint.WriteConfig(_folder.Path, config);
        if (generation is not null)
            File.WriteAllText(_folder["generation_config.json"], generation);
        return ModelConfig.Load(_folder.Path);
    }

    // Lists of a record compare by reference; their text does not.
    private static void AssertSame(ModelShape expected, ModelShape actual) =>
        Assert.Equal(JsonSerializer.Serialize(expected), JsonSerializer.Serialize(actual));

    [Theory]
    [MemberData(nameof(Variant.Names), MemberType = typeof(Variant))]
    public void Reads_the_sizes(string name) => AssertSame(Variant.All[name].Shape, Load(shape: Variant.All[name].Shape).Shape);

    [Fact]
    public void Gemma_2_takes_the_defaults_of_its_own()
    {
        var shape = Load(shape: ModelShapes.TinyOf(Architecture.Gemma2), change: c =>
        {
            foreach (var name in (string[])[
                "head_dim", "tie_word_embeddings", "sliding_window", "query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping",
                "hidden_activation", "rms_norm_eps"])
                c.Remove(name);
        }).Shape;

        AssertSame(
            ModelShapes.TinyOf(Architecture.Gemma2) with
            {
                HeadSize = 256, SlidingWindow = 4_096, QueryScalar = 256, AttentionSoftcap = 50, LogitSoftcap = 30,
            },
            shape);
    }

    [Fact]
    public void Null_switches_Gemmas_caps_and_window_off()
    {
        var shape = Load(shape: ModelShapes.TinyOf(Architecture.Gemma2), change: c =>
        {
            foreach (var name in (string[])["sliding_window", "attn_logit_softcapping", "final_logit_softcapping"])
                c[name] = null;
        }).Shape;

        Assert.Equal((null, null, null), (shape.SlidingWindow, shape.AttentionSoftcap, shape.LogitSoftcap));
    }

    [Theory]
    [InlineData(false, 4, null)]
    [InlineData(true, 1, "1")]
    [InlineData(true, 2, "")]
    [InlineData(true, 0, "0 1")]
    public void Qwen_has_its_window_from_a_layer_on_and_only_when_told_so(bool used, int first, string? layers)
    {
        var shape = Load(shape: ModelShapes.TinyOf(Architecture.Qwen2), change: c =>
        {
            (c["use_sliding_window"], c["sliding_window"], c["max_window_layers"]) = (used, 100, first);
        }).Shape;

        Assert.Equal(used ? 100 : null, shape.SlidingWindow);
        Assert.Equal(layers, shape.SlidingLayers is null ? null : string.Join(' ', shape.SlidingLayers));
    }

    [Fact]
    public void Mistral_has_its_window_unless_it_says_null()
    {
        Assert.Equal(4_096, Load(c => c.Remove("sliding_window"), shape: ModelShapes.TinyOf(Architecture.Mistral)).Shape.SlidingWindow);
        Assert.Null(Load(c => c["sliding_window"] = null, shape: ModelShapes.TinyOf(Architecture.Mistral)).Shape.SlidingWindow);
    }

    // The form of Transformers 5: everything about rotary positions in one object.
    [Fact]
    public void Rotary_settings_may_stand_in_rope_parameters()
    {
        var expected = ModelShapes.TinyOf(Architecture.Phi3);
        var shape = Load(shape: expected, change: c =>
        {
            var rope = c["rope_scaling"]!.AsObject();
            foreach (var name in (string[])["rope_scaling", "rope_theta", "partial_rotary_factor", "original_max_position_embeddings"])
                c.Remove(name);
            (rope["rope_type"], rope["rope_theta"]) = ("longrope", expected.RopeTheta);
            (rope["partial_rotary_factor"], rope["original_max_position_embeddings"]) = (expected.PartialRotaryFactor, 64);
            (rope["short_mscale"], rope["long_mscale"]) = (1.25, 1.5);
            rope.Remove("type");
            c["rope_parameters"] = rope;
        }).Shape;

        AssertSame(
            expected with { RopeScaling = (LongRopeScaling)expected.RopeScaling! with { ShortMagnitude = 1.25, LongMagnitude = 1.5 } }, shape);
    }

    [Theory]
    [InlineData("short_factor", "[1]", null, "1 entries")]
    [InlineData("short_factor", "[\"1\"]", "rope_scaling.short_factor", "not a number")]
    [InlineData("long_factor", "3", "rope_scaling.long_factor", "list of numbers")]
    [InlineData("type", "\"yarn\"", "rope_scaling", "yarn")]
    public void Names_what_is_wrong_with_LongRoPE(string property, string json, string? entry, string expected)
    {
        var error = Assert.Throws<ModelSourceException>(
            () => Load(c => c["rope_scaling"]![property] = JsonNode.Parse(json), shape: ModelShapes.TinyOf(Architecture.Phi3)));

        Assert.Equal(entry, error.Entry);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Names_an_original_context_that_no_integer_holds()
    {
        var error = Assert.Throws<ModelSourceException>(() => Load(c => c["rope_scaling"] = JsonNode.Parse(
            """{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":1e300}""")));

        Assert.Equal("rope_scaling.original_max_position_embeddings", error.Entry);
    }

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

        Assert.Equal([299, 295], config.Settings.Tokens.Eos);
        Assert.Equal(1, config.Settings.Tokens.Bos);
        Assert.Equal(295, config.Settings.Tokens.Pad);
        Assert.Equal(SearchSettings.Default with { Sample = true }, config.Settings.Search);
    }

    [Fact]
    public void Sampling_settings_are_carried_over()
    {
        var config = Load(generation: """{"do_sample":true,"temperature":0.6,"top_k":20,"top_p":0.9,"repetition_penalty":1.1}""");

        Assert.Equal(new SearchSettings(Sample: true, Temperature: 0.6, TopK: 20, TopP: 0.9, RepetitionPenalty: 1.1), config.Settings.Search);
    }

    [Fact]
    public void A_top_k_of_zero_keeps_every_token() =>
        Assert.Equal(Checkpoint.Shape.Vocabulary, Load(generation: """{"do_sample":true,"top_k":0}""").Settings.Search.TopK);

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
    [InlineData("architectures", """["GraniteForCausalLM"]""", "GraniteForCausalLM")]
    [InlineData("architectures", """["0ForCausalLM"]""", "0ForCausalLM")]
    [InlineData("architectures", """["LlamaForCausalLM","MistralForCausalLM"]""", "MistralForCausalLM")]
    [InlineData("architectures", "[1]", "LlamaForCausalLM")]
    [InlineData("architectures", "[null]", "LlamaForCausalLM")]
    [InlineData("architectures", "\"MistralForCausalLM\"", "MistralForCausalLM")]
    [InlineData("attention_bias", "true", "bias")]
    [InlineData("mlp_bias", "true", "bias")]
    [InlineData("mlp_bias", "1", "neither true nor false")]
    [InlineData("hidden_act", "\"gelu\"", "gelu")]
    [InlineData("hidden_act", "3", "not a text")]
    [InlineData("rope_scaling", """{"type":"dynamic","factor":2.0}""", "dynamic")]
    [InlineData("rope_scaling", """{"type":"longrope","short_factor":[],"long_factor":[]}""", "longrope")]
    [InlineData("rope_scaling", "\"llama3\"", "not an object")]
    [InlineData("rope_parameters", """{"rope_type":"yarn","rope_theta":1e6}""", "yarn")]
    [InlineData("rope_theta", "\"much\"", "not a number")]
    [InlineData("quantization_config", """{"quant_method":"gptq"}""", "not supported")]
    [InlineData("sliding_window", "4096", "no sliding window")]
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
    [InlineData("partial_rotary_factor", 2, "PartialRotaryFactor")]
    [InlineData("rope_theta", 0, "RopeTheta")]
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

        var error = Assert.Throws<ModelSourceException>(() => ModelConfig.Load(_folder.Path));

        Assert.Equal(property, error.Entry);
        Assert.Equal(_folder["config.json"], error.File);
    }

    [Fact]
    public void Refuses_a_property_name_with_half_a_surrogate_pair()
    {
        File.WriteAllText(_folder["config.json"], """{"\ud800":1}""");

        Assert.Equal(_folder["config.json"], Assert.Throws<ModelSourceException>(() => ModelConfig.Load(_folder.Path)).File);
    }

    [Fact]
    public void Names_a_missing_and_a_broken_file()
    {
        Assert.Contains("config.json", Assert.Throws<ModelSourceException>(() => ModelConfig.Load(_folder.Path)).Message, StringComparison.Ordinal);
        File.WriteAllText(_folder["config.json"], "{\"vocab_size\":");
        Assert.Contains("JSON", Assert.Throws<ModelSourceException>(() => ModelConfig.Load(_folder.Path)).Message, StringComparison.Ordinal);
    }

    public void Dispose() => _folder.Dispose();
}
