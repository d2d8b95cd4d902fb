using System.Text.Json.Nodes;
using KvPrune.ModelBuilder.Synthetic;
using KvPrune.ModelBuilder.Tests.HuggingFace;
using KvPrune.ModelBuilder.Tests.Onnx;

namespace KvPrune.ModelBuilder.Tests;

public sealed class HuggingFaceModelTests : IDisposable
{
    private static readonly string[] ModelFiles = ["model.onnx", "model.onnx.data"];

    private readonly TemporaryFolder _folder = new();

    private string Source => _folder["source"];

    private string Output => _folder["output"];

    [Theory]
    [MemberData(nameof(Variant.Names), MemberType = typeof(Variant))]
    public void A_checkpoint_gives_the_bytes_of_the_same_weights_built_directly(string name)
    {
        var (shape, attention) = Variant.All[name];
        var options = new BuildOptions { Attention = attention };
        Checkpoint.Write(Source, shape, seed: 5);
        RandomModel.Build(_folder["direct"], shape, seed: 5, options);

        HuggingFaceModel.Build(Source, Output, options);

        AssertSame("genai_config.json", "tokenizer.json", "tokenizer_config.json");
    }

    [Theory]
    [InlineData(true, WeightPrecision.Fp16)]
    [InlineData(true, WeightPrecision.Int4)]
    [InlineData(false, WeightPrecision.Int4Fp16)]
    public void So_does_one_in_another_precision(bool tied, WeightPrecision precision)
    {
        var shape = Checkpoint.Shape with { TiedEmbeddings = tied };
        var options = new BuildOptions { Precision = precision, BlockSize = 128 };
        Checkpoint.Write(Source, shape, seed: 5);
        RandomModel.Build(_folder["direct"], shape, seed: 5, options);

        HuggingFaceModel.Build(Source, Output, options);

        AssertSame("genai_config.json", "tokenizer.json", "tokenizer_config.json");
    }

    [Theory]
    [InlineData(Architecture.Llama)]
    [InlineData(Architecture.Phi3)]
    public void So_does_one_in_several_files(Architecture architecture)
    {
        var shape = ModelShapes.TinyOf(architecture);
        string[] dtypes = ["BF16", "F32", "F16"];
        Checkpoint.WriteSharded(Source, shape, 5, dtypes);
        string[] names = [.. ModelTensors.All(shape).Select(t => t.Name)];
        GraphFolder.Write(
            _folder["direct"],
            shape,
            new RandomWeights(5).Select((name, _, values) => Rounded(dtypes[Array.IndexOf(names, name) % 3], values)));

        HuggingFaceModel.Build(Source, Output);

        AssertSame();
    }

    [Fact]
    public void Sampling_settings_reach_genai_config()
    {
        Checkpoint.Write(Source, Checkpoint.Shape, seed: 1);
        File.WriteAllText(
            Path.Combine(Source, "generation_config.json"), """{"do_sample":true,"temperature":0.6,"top_k":20,"top_p":0.9,"repetition_penalty":1.1}""");

        HuggingFaceModel.Build(Source, Output);

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
        GraphFolder.Write(_folder["direct"], Checkpoint.Shape, new RandomWeights(5).Select((_, _, values) => Rounded(dtype, values)));

        HuggingFaceModel.Build(Source, Output);

        AssertSame();
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
        var extra = ModelTensors.All(Checkpoint.Shape).Select(t => (t.Name, t.Shape, weights.Read(t.Name, t.Shape)))
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
    public void Names_a_missing_shard_and_one_cut_short()
    {
        Checkpoint.WriteSharded(Source, Checkpoint.Shape, 1, "F32", "F32");
        var second = Path.Combine(Source, "model-00002-of-00002.safetensors");
        var bytes = File.ReadAllBytes(second);
        File.Delete(second);
        Refused(null, "00002-of-00002.safetensors: the file does not exist");

        File.WriteAllBytes(second, bytes[..^8]);
        Refused("model.norm.weight", "cut short", "model.layers.1.post_attention_layernorm.weight");
    }

    [Theory]
    [InlineData("{}", "weight_map", "not an object")]
    [InlineData("""{"weight_map":{"model.norm.weight":3}}""", "weight_map.model.norm.weight", "3 is not a text")]
    [InlineData("""{"weight_map":{"model.norm.weight":"../x.safetensors"}}""", "model.norm.weight", "../x.safetensors")]
    [InlineData("""{"weight_map":{"model.norm.weight":"/etc/passwd"}}""", "model.norm.weight", "/etc/passwd")]
    [InlineData("""{"weight_map":{"model.norm.weight":".."}}""", "model.norm.weight", "not the name of a file")]
    [InlineData("""{"weight_map":{"model.norm.weight":"a\u0000"}}""", "model.norm.weight", "not the name of a file")]
    [InlineData("""{"weight_map":{"other":"model-00001-of-00001.safetensors"}}""", "other", "though the index says so")]
    [InlineData("""{"weight_map":{}}""", "model.embed_tokens.weight", "no such tensor")]
    public void Names_what_is_wrong_with_the_index(string index, string entry, string expected)
    {
        Checkpoint.WriteSharded(Source, Checkpoint.Shape, 1, "F32");
        File.WriteAllText(Path.Combine(Source, "model.safetensors.index.json"), index);

        Refused(entry, expected);
    }

    [Fact]
    public void Names_a_tensor_that_two_shards_have()
    {
        Checkpoint.WriteSharded(Source, Checkpoint.Shape, 1, "F32", "F32");
        File.Copy(
            Path.Combine(Source, "model-00001-of-00002.safetensors"), Path.Combine(Source, "model-00002-of-00002.safetensors"), overwrite: true);

        Refused("model.embed_tokens.weight", "model-00001-of-00002.safetensors as well");
    }

    [Fact]
    public void Refuses_options_that_the_model_does_not_allow()
    {
        Checkpoint.Write(Source, Checkpoint.Shape, 1);

        var error = Assert.Throws<ArgumentException>(
            () => HuggingFaceModel.Build(Source, Output, new BuildOptions { Attention = AttentionLayout.MultiHead }));

        Assert.Contains("KvHeads (2)", error.Message, StringComparison.Ordinal);
        Assert.Contains("64", Assert.Throws<ArgumentException>(
            () => HuggingFaceModel.Build(Source, Output, new BuildOptions { BlockSize = 64 })).Message, StringComparison.Ordinal);
    }

    // Nothing may be left behind by a refusal, not even an empty folder.
    private void Refused(string? entry, string expected, string? orEntry = null)
    {
        var error = Assert.Throws<ModelSourceException>(() => HuggingFaceModel.Build(Source, Output));

        Assert.Contains(error.Entry, (string?[])[entry, orEntry ?? entry]);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
        Assert.Equal([Source], Directory.GetFileSystemEntries(_folder.Path));
    }

    private void AssertSame(params string[] others)
    {
        string[] files = [.. ModelFiles, .. others];
        if (others.Length > 0)
            Assert.Equal(files.Order(), Directory.GetFiles(Output).Select(Path.GetFileName).Order());
        foreach (var file in files)
        {
            var same = File.ReadAllBytes(Path.Combine(_folder["direct"], file)).AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(Output, file)));
            Assert.True(same, $"{file} differs.");
        }
    }

    private static float[] Rounded(string dtype, float[] values) => [.. values.Select(v => SafetensorsWriter.Round(dtype, v))];

    public void Dispose() => _folder.Dispose();
}
