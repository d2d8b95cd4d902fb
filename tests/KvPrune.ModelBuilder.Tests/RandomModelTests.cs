using System.Text.Json;

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

    [Theory]
    [InlineData(0, "Layers")]
    [InlineData(1, "QueryHeads")]
    [InlineData(2, "HeadSize")]
    [InlineData(3, "Vocabulary")]
    [InlineData(4, "RopeTheta")]
    public void Refuses_sizes_that_do_not_fit(int which, string expected)
    {
        ModelShape[] shapes =
        [
            ModelShapes.Tiny with { Layers = 0 }, ModelShapes.Tiny.WithHeads(5, 2, 32), ModelShapes.Tiny.WithHeads(4, 2, 33),
            ModelShapes.Tiny with { Vocabulary = RandomModel.SmallestVocabulary - 1 }, ModelShapes.Tiny with { RopeTheta = double.NaN },
        ];

        var error = Assert.Throws<ArgumentException>(() => RandomModel.Build(_folder["model"], shapes[which], seed: 1));

        Assert.StartsWith(expected, error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    public void Dispose() => _folder.Dispose();
}
