using System.Text.Json;
using KvPrune.ModelBuilder.Tests.Onnx;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.ModelBuilder.Tests;

public sealed class RandomModelTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Theory]
    [InlineData(WeightPrecision.Fp32)]
    [InlineData(WeightPrecision.Fp16)]
    [InlineData(WeightPrecision.Int4)]
    public void The_same_seed_gives_the_same_bytes_and_another_seed_other_weights(WeightPrecision precision)
    {
        var options = new BuildOptions { Precision = precision };
        RandomModel.Build(_folder["a"], ModelShapes.Tiny, seed: 1, options);
        RandomModel.Build(_folder["b"], ModelShapes.Tiny, seed: 1, options);
        RandomModel.Build(_folder["c"], ModelShapes.Tiny, seed: 2, options);

        foreach (var file in Directory.GetFiles(_folder["a"]).Select(Path.GetFileName))
            Assert.Equal(Read("a", file!), Read("b", file!));
        Assert.NotEqual(Read("a", "model.onnx.data"), Read("c", "model.onnx.data"));

        byte[] Read(string folder, string file) => File.ReadAllBytes(Path.Combine(_folder[folder], file));
    }

    // A model that repeats one token would hide a wrong cache from every test that compares greedy tokens.
    [Theory]
    [InlineData(4, 4, 64, true)]
    [InlineData(8, 1, 128, true)]
    [InlineData(6, 2, 96, false)]
    public void Greedy_decoding_wanders_through_the_vocabulary(int queryHeads, int kvHeads, int headSize, bool tied)
    {
        var shape = ModelShapes.Tiny.WithHeads(queryHeads, kvHeads, headSize) with { TiedEmbeddings = tied };
        RandomModel.Build(_folder["model"], shape, seed: 1);
        using var decoder = new StockDecoder(_folder["model"]);

        var tokens = decoder.Greedy([.. Enumerable.Range(40, 30)], limit: 60);

        Assert.True(tokens.Distinct().Count() > 25, string.Join(" ", tokens));
    }

    [Fact]
    public void Genai_config_names_what_the_model_has()
    {
        var shape = ModelShapes.Tiny with { Layers = 1 };
        RandomModel.Build(_folder["model"], shape, seed: 1);
        using var json = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(_folder["model"], "genai_config.json")));
        var model = json.RootElement.GetProperty("model");
        var decoder = model.GetProperty("decoder");
        var search = json.RootElement.GetProperty("search");

        Assert.Equal("llama", model.GetProperty("type").GetString());
        Assert.Equal(320, model.GetProperty("vocab_size").GetInt32());
        Assert.Equal(512, model.GetProperty("context_length").GetInt32());
        Assert.Equal((314, 319, 315), (Number(model, "bos_token_id"), Number(model, "eos_token_id"), Number(model, "pad_token_id")));
        Assert.Equal("model.onnx", decoder.GetProperty("filename").GetString());
        Assert.Equal((128, 32), (Number(decoder, "hidden_size"), Number(decoder, "head_size")));
        Assert.Equal((4, 2, 1), (Number(decoder, "num_attention_heads"), Number(decoder, "num_key_value_heads"), Number(decoder, "num_hidden_layers")));
        Assert.Equal("onnxruntime-genai", decoder.GetProperty("session_options").GetProperty("log_id").GetString());
        Assert.Equal(
            ["input_ids", "attention_mask", "past_key_values.%d.key", "past_key_values.%d.value"],
            decoder.GetProperty("inputs").EnumerateObject().Select(p => p.Value.GetString()));
        Assert.Equal(
            ["logits", "present.%d.key", "present.%d.value"],
            decoder.GetProperty("outputs").EnumerateObject().Select(p => p.Value.GetString()));
        Assert.Equal(512, Number(search, "max_length"));
        Assert.False(search.GetProperty("do_sample").GetBoolean());
        Assert.True(search.GetProperty("past_present_share_buffer").GetBoolean());
        Assert.Equal(14, search.EnumerateObject().Count());

        static int Number(JsonElement element, string name) => element.GetProperty(name).GetInt32();
    }

    [Theory]
    [InlineData(true, WeightPrecision.Fp32)]
    [InlineData(true, WeightPrecision.Int4)]
    [InlineData(false, WeightPrecision.Int4)]
    public void Progress_ends_at_the_whole(bool tied, WeightPrecision precision)
    {
        var reports = new List<BuildProgress>();

        RandomModel.Build(
            _folder["model"],
            ModelShapes.TinyOf(Architecture.Gemma2) with { TiedEmbeddings = tied },
            seed: 1,
            new BuildOptions { Precision = precision },
            new Recorder(reports));

        Assert.Equal(reports[^1].TotalWeights, reports[^1].Weights);
        Assert.Equal(reports.Select(r => r.Weights).Order(), reports.Select(r => r.Weights));
    }

    private sealed class Recorder(List<BuildProgress> reports) : IProgress<BuildProgress>
    {
        public void Report(BuildProgress value) => reports.Add(value);
    }

    [Theory]
    [InlineData("llama outer rotary", "llama", true, true)]
    [InlineData("llama multi-head", "llama", true, false)]
    [InlineData("mistral", "mistral", false, true)]
    [InlineData("qwen2", "qwen2", false, true)]
    [InlineData("qwen3", "qwen3", false, true)]
    [InlineData("phi3", "phi3", false, true)]
    [InlineData("gemma2", "gemma2", false, true)]
    public void Genai_config_names_the_family_and_the_inputs_of_the_graph(string name, string type, bool positions, bool sharesBuffer)
    {
        var (shape, attention) = Variant.All[name];
        RandomModel.Build(_folder["model"], shape, seed: 1, new BuildOptions { Attention = attention });
        using var json = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(_folder["model"], "genai_config.json")));
        using var session = new InferenceSession(Path.Combine(_folder["model"], "model.onnx"));
        var model = json.RootElement.GetProperty("model");
        var inputs = model.GetProperty("decoder").GetProperty("inputs").EnumerateObject().Select(p => p.Value.GetString()!).ToList();

        Assert.Equal(type, model.GetProperty("type").GetString());
        Assert.Equal(positions, inputs.Contains("position_ids"));
        Assert.Equal(
            session.InputMetadata.Keys,
            [
                .. inputs.SkipLast(2),
                .. Enumerable.Range(0, shape.Layers).SelectMany(l => inputs.TakeLast(2).Select(i => i.Replace("%d", $"{l}", StringComparison.Ordinal))),
            ]);
        Assert.Equal(sharesBuffer, json.RootElement.GetProperty("search").GetProperty("past_present_share_buffer").GetBoolean());
    }

    [Fact]
    public void The_tokenizer_has_a_word_for_every_id_and_a_letter_for_every_byte()
    {
        RandomModel.Build(_folder["model"], ModelShapes.Tiny, seed: 1);
        using var json = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(_folder["model"], "tokenizer.json")));
        var words = json.RootElement.GetProperty("model").GetProperty("vocab").EnumerateObject().ToDictionary(p => p.Name, p => p.Value.GetInt32());
        var added = json.RootElement.GetProperty("added_tokens").EnumerateArray().Select(t => t.GetProperty("id").GetInt32());

        Assert.Equal(Enumerable.Range(0, 320), words.Values.Concat(added).Order());
        // Known points of the byte-level alphabet: newline, space, delete, soft hyphen.
        Assert.Equal(('A', '\n', ' ', 0x7F, 0xAD), (words["A"], words["Ċ"], words["Ġ"], words["ġ"], words["Ń"]));
    }

    public static TheoryData<string, Func<ModelShape, ModelShape>> Misfits => new()
    {
        { "Layers", s => s with { Layers = 0 } },
        { "QueryHeads", s => s.WithHeads(5, 2, 32) },
        { "HeadSize", s => s.WithHeads(4, 2, 33) },
        { "HeadSize", s => s with { PartialRotaryFactor = 0.1 } },
        { "Vocabulary", s => s with { Vocabulary = RandomModel.SmallestVocabulary - 1 } },
        { "Vocabulary", s => s with { Vocabulary = int.MaxValue } },
        { "QueryHeads", s => s.WithHeads(1 << 30, 1 << 30, 1 << 30) },
        { "ContextLength", s => s with { ContextLength = 1 << 25 } },
        { "RopeTheta", s => s with { RopeTheta = double.NaN } },
        { "PartialRotaryFactor", s => s with { PartialRotaryFactor = 1.5 } },
        { "SlidingWindow", s => s with { SlidingWindow = 0 } },
        { "SlidingLayers", s => s with { SlidingWindow = 4, SlidingLayers = [2] } },
        { "AttentionSoftcap", s => s with { AttentionSoftcap = 0 } },
        { "LogitSoftcap", s => s with { LogitSoftcap = -1 } },
        { "QueryScalar", s => s with { QueryScalar = double.PositiveInfinity } },
        { "NormEpsilon", s => s with { NormEpsilon = float.NaN } },
        { "Architecture", s => s with { Architecture = (Architecture)99 } },
        { "RopeScaling: Factor", s => s with { RopeScaling = new LinearRopeScaling(0) } },
        { "RopeScaling: HighFrequencyFactor", s => s with { RopeScaling = new Llama3RopeScaling(8, 4, 4, 64) } },
        { "RopeScaling: OriginalContext", s => s with { RopeScaling = new Llama3RopeScaling(8, 1, 4, 0) } },
        { "RopeScaling: ShortFactors", s => s with { RopeScaling = new LongRopeScaling([1], [1], 64) } },
        { "RopeScaling: LongFactors", s => s with { RopeScaling = new LongRopeScaling(Ones, [.. Ones.Skip(1), 0], 64) } },
        { "RopeScaling: OriginalContext", s => s with { RopeScaling = new LongRopeScaling(Ones, Ones, 513) } },
        { "RopeScaling: LongMagnitude", s => s with { RopeScaling = new LongRopeScaling(Ones, Ones, 64, 1, -1) } },
        { "ContextLength", s => s with { ContextLength = 1 << 24, RopeScaling = new LongRopeScaling(Ones, Ones, 64) } },
    };

    private static double[] Ones { get; } = [.. Enumerable.Repeat(1.0, 16)];

    [Theory]
    [MemberData(nameof(Misfits), DisableDiscoveryEnumeration = true)]
    public void Refuses_sizes_that_do_not_fit(string expected, Func<ModelShape, ModelShape> change)
    {
        var error = Assert.Throws<ArgumentException>(() => RandomModel.Build(_folder["model"], change(ModelShapes.Tiny), seed: 1));

        Assert.StartsWith(expected, error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Theory]
    [InlineData(AttentionLayout.MultiHead, 32, "KvHeads")]
    [InlineData(AttentionLayout.MultiHead, 32, "SlidingWindow", Architecture.Mistral)]
    [InlineData(AttentionLayout.Packed, 16, "BlockSize")]
    public void Refuses_options_that_do_not_go_with_the_model(
        AttentionLayout attention, int blockSize, string expected, Architecture architecture = Architecture.Llama)
    {
        var shape = ModelShapes.TinyOf(architecture);
        shape = architecture == Architecture.Llama ? shape : shape.WithHeads(4, 4, 32);

        var error = Assert.Throws<ArgumentException>(() => RandomModel.Build(
            _folder["model"], shape, seed: 1, new BuildOptions { Attention = attention, BlockSize = blockSize }));

        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    public void Dispose() => _folder.Dispose();
}
