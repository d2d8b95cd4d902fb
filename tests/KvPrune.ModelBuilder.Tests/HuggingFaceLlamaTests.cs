using System.Text.Json.Nodes;
using KvPrune.ModelBuilder.Onnx;
using KvPrune.ModelBuilder.Synthetic;
using KvPrune.ModelBuilder.Tests.HuggingFace;

namespace KvPrune.ModelBuilder.Tests;

public sealed class HuggingFaceLlamaTests : IDisposable
{
    private static readonly string[] ModelFiles = ["model.onnx", "model.onnx.data"];

    private readonly TemporaryFolder _folder = new();

    private string Source => _folder["source"];

    private string Output => _folder["output"];

    [Theory]
    [InlineData(true, WeightPrecision.Fp32)]
    [InlineData(false, WeightPrecision.Fp32)]
    [InlineData(true, WeightPrecision.Int4)]
    public void A_checkpoint_gives_the_bytes_of_the_same_weights_built_directly(bool tied, WeightPrecision precision)
    {
        var shape = Checkpoint.Shape with { TiedEmbeddings = tied };
        Checkpoint.Write(Source, shape, seed: 5);
        RandomLlama.Build(_folder["direct"], shape, seed: 5, precision);

        HuggingFaceLlama.Build(Source, Output, precision);

        string[] files = [.. ModelFiles, "genai_config.json", "tokenizer.json", "tokenizer_config.json"];
        Assert.Equal(files.Order(), Directory.GetFiles(Output).Select(Path.GetFileName).Order());
        foreach (var file in files)
            Assert.True(Same(Path.Combine(_folder["direct"], file), Path.Combine(Output, file)), $"{file} differs.");
    }

    [Fact]
    public void Sampling_settings_reach_genai_config()
    {
        Checkpoint.Write(Source, Checkpoint.Shape, seed: 1);
        File.WriteAllText(
            Path.Combine(Source, "generation_config.json"), """{"do_sample":true,"temperature":0.6,"top_k":20,"top_p":0.9,"repetition_penalty":1.1}""");

        HuggingFaceLlama.Build(Source, Output);

        var search = JsonNode.Parse(File.ReadAllText(Path.Combine(Output, "genai_config.json")))!["search"]!;
        Assert.True((bool)search["do_sample"]!);
        Assert.Equal(
            (0.6, 20, 0.9, 1.1),
            ((double)search["temperature"]!, (int)search["top_k"]!, (double)search["top_p"]!, (double)search["repetition_penalty"]!));
    }

    [Theory]
    [InlineData("F16")]
    [InlineData("BF16")]
    public void Half_precision_checkpoints_are_widened_without_a_change(string dtype)
    {
        Checkpoint.Write(Source, Checkpoint.Shape, seed: 5, dtype);
        Directory.CreateDirectory(_folder["direct"]);
        LlamaGraph.Write(
            _folder["direct"], Checkpoint.Shape, WeightPrecision.Fp32, new RoundedWeights(5, dtype), null, default);

        HuggingFaceLlama.Build(Source, Output);

        foreach (var file in ModelFiles)
            Assert.True(Same(Path.Combine(_folder["direct"], file), Path.Combine(Output, file)), $"{file} differs.");
    }

    [Fact]
    public void Names_a_missing_tensor()
    {
        Checkpoint.Write(Source, Checkpoint.Shape, 1, change: t => t.Name == "model.norm.weight" ? null : t);

        Refused("model.norm.weight", "no such tensor");
    }

    [Fact]
    public void Names_a_tensor_of_another_shape()
    {
        const string name = "model.layers.1.mlp.down_proj.weight";
        Checkpoint.Write(Source, Checkpoint.Shape, 1, change: t => t.Name == name ? (name, [.. t.Shape.Reverse()], t.Values) : t);

        Refused(name, "[96, 64]");
    }

    [Fact]
    public void Names_a_tensor_that_the_graph_has_no_place_for()
    {
        Checkpoint.Write(
            Source,
            Checkpoint.Shape,
            1,
            change: t => t.Name == "model.norm.weight" ? t : (t.Name.Replace("input_layernorm", "q_norm", StringComparison.Ordinal), t.Shape, t.Values));

        Refused("model.layers.0.input_layernorm.weight", "no such tensor");

        var weights = new RandomWeights(1);
        var extra = LlamaTensors.All(Checkpoint.Shape).Select(t => (t.Name, t.Shape, weights.Read(t.Name, t.Shape)))
            .Append(("model.layers.0.self_attn.q_proj.bias", [64], new float[64]));
        SafetensorsWriter.Write(Path.Combine(Source, "model.safetensors"), "F32", extra);
        Refused("model.layers.0.self_attn.q_proj.bias", "ignore");
    }

    [Theory]
    [InlineData("model.safetensors")]
    [InlineData("tokenizer.json")]
    [InlineData("tokenizer_config.json")]
    [InlineData("config.json")]
    public void Names_a_missing_file(string file)
    {
        Checkpoint.Write(Source, Checkpoint.Shape, 1);
        File.Delete(Path.Combine(Source, file));

        Refused(null, file);
    }

    [Fact]
    public void Names_a_file_that_was_cut_short()
    {
        Checkpoint.Write(Source, Checkpoint.Shape, 1);
        var path = Path.Combine(Source, "model.safetensors");
        File.WriteAllBytes(path, File.ReadAllBytes(path)[..^100]);

        Refused("model.norm.weight", "cut short");
    }

    [Fact]
    public void Names_a_checkpoint_in_several_files()
    {
        Checkpoint.Write(Source, Checkpoint.Shape, 1);
        File.Move(Path.Combine(Source, "model.safetensors"), Path.Combine(Source, "model-00001-of-00002.safetensors"));
        File.WriteAllText(Path.Combine(Source, "model.safetensors.index.json"), "{}");

        Refused(null, "several files");
    }

    // Nothing may be left behind by a refusal, not even an empty folder.
    private void Refused(string? entry, string expected)
    {
        var error = Assert.Throws<ModelSourceException>(() => HuggingFaceLlama.Build(Source, Output));

        Assert.Equal(entry, error.Entry);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
        Assert.Equal([Source], Directory.GetFileSystemEntries(_folder.Path));
    }

    private static bool Same(string first, string second) => File.ReadAllBytes(first).AsSpan().SequenceEqual(File.ReadAllBytes(second));

    public void Dispose() => _folder.Dispose();

    private sealed class RoundedWeights(int seed, string dtype) : IWeightSource
    {
        private readonly RandomWeights _weights = new(seed);

        public void Read(string name, ReadOnlySpan<int> dimensions, Span<float> values)
        {
            _weights.Read(name, dimensions, values);
            foreach (ref var value in values)
                value = SafetensorsWriter.Round(dtype, value);
        }
    }
}
