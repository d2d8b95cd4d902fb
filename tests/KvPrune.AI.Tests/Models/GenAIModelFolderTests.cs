using Google.Protobuf;
using System.Text.Json.Nodes;
using KvPrune.AI.Models;
using KvPrune.AI.Runtimes;
using KvPrune.AI.Sampling;
using KvPrune.OnnxOps;
using KvPrune.OnnxOps.Onnx;

namespace KvPrune.AI.Tests.Models;

public sealed class GenAIModelFolderTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kvprune-folder-").FullName;

    public GenAIModelFolderTests()
    {
        foreach (string file in Directory.EnumerateFiles(BundledModel.Folder))
            File.CreateSymbolicLink(Path.Combine(_folder, Path.GetFileName(file)), file);
    }

    private string ConfigPath => Path.Combine(_folder, "genai_config.json");

    [Fact]
    public void The_bundled_folder_is_read()
    {
        GenAIModelFolder folder = GenAIModelFolder.Load(_folder);
        Assert.Equal(8192, folder.ContextLength);
        Assert.Equal(3072, folder.VocabularySize);
        Assert.Equal([3071, 3067], folder.EndTokens);
        Assert.Equal((5, 4, 2, 64), (folder.Layers, folder.QueryHeads, folder.KvHeads, folder.HeadSize));
        Assert.Equal(SamplingOptions.Greedy with { RepetitionPenalty = 1 }, folder.Sampling);
    }

    [Fact]
    public void Search_defaults_are_taken_over()
    {
        Edit(config => config["search"] = new JsonObject
        {
            ["do_sample"] = true, ["temperature"] = 0.6, ["top_k"] = 20, ["top_p"] = 0.95, ["max_length"] = 1000,
        });
        GenAIModelFolder folder = GenAIModelFolder.Load(_folder);
        Assert.Equal(new SamplingOptions { Temperature = 0.6f, TopK = 20, TopP = 0.95f }, folder.Sampling);
        Assert.Equal(1000, folder.ContextLength);
    }

    [Theory]
    [InlineData("model.context_length", "\"long\"", "model.context_length")]
    [InlineData("model.context_length", "0", "model.context_length")]
    [InlineData("model.context_length", "8192.5", "model.context_length")]
    [InlineData("model.context_length", null, "model.context_length")]
    [InlineData("model.vocab_size", null, "model.vocab_size")]
    [InlineData("model.eos_token_id", null, "model.eos_token_id")]
    [InlineData("model.eos_token_id", "[]", "model.eos_token_id")]
    [InlineData("model.eos_token_id", "[3071, 3072]", "model.eos_token_id")]
    [InlineData("model.eos_token_id", "-1", "model.eos_token_id")]
    [InlineData("model.decoder", null, "model.decoder")]
    [InlineData("model.decoder", "[]", "model.decoder")]
    [InlineData("model.decoder.filename", "\"other.onnx\"", "model.decoder.filename")]
    [InlineData("model.decoder.filename", "7", "model.decoder.filename")]
    [InlineData("model.decoder.num_key_value_heads", "3", "model.decoder.num_key_value_heads")]
    [InlineData("model.decoder.inputs", "1", "model.decoder.inputs")]
    [InlineData("model.decoder.session_options.custom_ops_library", "\"libmine.so\"", "model.decoder.session_options.custom_ops_library")]
    [InlineData("search.do_sample", "1", "search.do_sample")]
    [InlineData("search.repetition_penalty", "0", "search.repetition_penalty")]
    [InlineData("search", """{"do_sample":true,"temperature":-1,"top_p":2}""", "search.temperature")]
    [InlineData("search", """{"do_sample":true,"top_p":1.5}""", "search.top_p")]
    [InlineData("search.max_length", "-5", "search.max_length")]
    public void A_broken_entry_is_named(string path, string? json, string entry)
    {
        Edit(config => Set(config, path, json));
        AssertRefused(() => GenAIModelFolder.Load(_folder), ConfigPath, entry);
    }

    [Theory]
    [InlineData("model.decoder.num_hidden_layers", "6", "model.decoder.num_hidden_layers")]
    [InlineData("model.decoder.num_attention_heads", "8", "model.decoder.num_attention_heads")]
    [InlineData("model.decoder.num_key_value_heads", "4", "model.decoder.num_key_value_heads")]
    [InlineData("model.decoder.head_size", "128", "model.decoder.head_size")]
    [InlineData("model.vocab_size", "4000", "model.vocab_size")]
    public void A_graph_that_disagrees_is_refused(string path, string json, string entry)
    {
        // ONNX Runtime follows no link out of the model's folder.
        string weights = Path.Combine(_folder, "model.onnx.data");
        File.Delete(weights);
        File.Copy(Path.Combine(BundledModel.Folder, "model.onnx.data"), weights);
        Edit(config => Set(config, path, json));
        AssertRefused(LoadDecoder, ConfigPath, entry);
    }

    [Theory]
    [InlineData("input_ids", "tokens", "tokens")]
    [InlineData("attention_mask", "mask", "attention_mask")]
    public void Inputs_that_the_graph_lacks_or_adds_are_named(string key, string value, string culprit)
    {
        Edit(config => config["model"]!["decoder"]!["inputs"]![key] = value);
        var error = Assert.Throws<ModelFolderException>(LoadDecoder);
        Assert.Contains(key == "input_ids" ? "input_ids" : culprit, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_vocabulary_smaller_than_the_tokenizer_is_refused()
    {
        GenAIModelFolder folder = GenAIModelFolder.Load(_folder);
        folder.RequireTokens(3072);
        AssertRefused(() => folder.RequireTokens(3073), ConfigPath, "model.vocab_size");
    }

    [Fact]
    public void Missing_and_broken_files_are_named()
    {
        string missing = Path.Combine(_folder, "none");
        AssertRefused(() => GenAIModelFolder.Load(missing), missing, null);
        Rewrite(ConfigPath, "{ \"model\": ");
        AssertRefused(() => GenAIModelFolder.Load(_folder), ConfigPath, null);
        Rewrite(ConfigPath, "[1]");
        AssertRefused(() => GenAIModelFolder.Load(_folder), ConfigPath, null);
        File.Delete(ConfigPath);
        AssertRefused(() => GenAIModelFolder.Load(_folder), ConfigPath, null);
    }

    [Fact]
    public void Weights_lie_beside_the_model_file()
    {
        string below = Directory.CreateDirectory(Path.Combine(_folder, "onnx")).FullName;
        foreach (string name in new[] { "model.onnx", "model.onnx.data" })
        {
            File.Delete(Path.Combine(_folder, name));
            File.Copy(Path.Combine(BundledModel.Folder, name), Path.Combine(below, name));
        }
        Edit(config => config["model"]!["decoder"]!["filename"] = "onnx/model.onnx");
        LoadDecoder();
    }

    [Theory]
    [InlineData("input_ids")]
    [InlineData("logits")]
    public void Inputs_and_outputs_of_other_types_are_named(string name)
    {
        string weights = Path.Combine(_folder, "model.onnx.data"), file = Path.Combine(_folder, "model.onnx");
        File.Delete(weights);
        File.Copy(Path.Combine(BundledModel.Folder, "model.onnx.data"), weights);
        ModelProto model = ModelProto.Parser.ParseFrom(File.ReadAllBytes(file));
        if (name == "input_ids")
        {
            model.Graph.Input.Single(input => input.Name == name).Type.TensorType.ElemType = (int)TensorProto.Types.DataType.Int32;
        }
        else
        {
            model.Graph.Node.Single(node => node.Output.Contains(name)).Output[0] = "wide";
            var cast = new NodeProto { OpType = "Cast", Name = "round", Input = { "wide" }, Output = { name } };
            cast.Attribute.Add(new AttributeProto
            {
                Name = "to", Type = AttributeProto.Types.AttributeType.Int, I = (int)TensorProto.Types.DataType.Bfloat16,
            });
            model.Graph.Node.Add(cast);
            model.Graph.Output.Single(output => output.Name == name).Type.TensorType.ElemType = (int)TensorProto.Types.DataType.Bfloat16;
        }
        File.Delete(file);
        File.WriteAllBytes(file, model.ToByteArray());
        AssertRefused(LoadDecoder, file, name);
    }

    [Fact]
    public void Settings_that_are_not_supported_are_listed()
    {
        Assert.Empty(GenAIModelFolder.Load(_folder).IgnoredSettings);
        Edit(config =>
        {
            config["search"]!["min_length"] = 5;
            config["search"]!["num_beams"] = 4;
        });
        Assert.Equal(["search.min_length = 5", "search.num_beams = 4"], GenAIModelFolder.Load(_folder).IgnoredSettings);
    }

    [Theory]
    [InlineData("{}", 0f, null, null, null)]
    [InlineData("""{"repetition_penalty":1.1}""", 0f, null, null, 1.1f)]
    [InlineData("""{"do_sample":true}""", null, 50, null, null)]
    [InlineData("""{"do_sample":true,"top_k":0,"top_p":0.0,"temperature":0.7}""", 0.7f, null, null, null)]
    [InlineData("""{"do_sample":true,"top_k":20,"top_p":0.9,"repetition_penalty":1.0}""", null, 20, 0.9f, 1f)]
    public void Search_defaults_mean_what_they_mean_to_genai(string search, float? temperature, int? topK, float? topP, float? repetition)
    {
        Edit(config => config["search"] = JsonNode.Parse(search));
        SamplingOptions expected = new() { Temperature = temperature, TopK = topK, TopP = topP, RepetitionPenalty = repetition };
        Assert.Equal(expected, GenAIModelFolder.Load(_folder).Sampling);
    }

    [Fact]
    public void Strings_that_are_not_unicode_are_named()
    {
        string text = File.ReadAllText(ConfigPath);
        Rewrite(ConfigPath, text.Replace("\"model.onnx\"", "\"\\ud800.onnx\"", StringComparison.Ordinal));
        AssertRefused(() => GenAIModelFolder.Load(_folder), ConfigPath, "model.decoder.filename");
        Rewrite(ConfigPath, text.Replace("3071,", "\"\\ud800\",", StringComparison.Ordinal));
        AssertRefused(() => GenAIModelFolder.Load(_folder), ConfigPath, "model.eos_token_id");
        Rewrite(ConfigPath, text.Replace("\"pad_token_id\"", "\"\\ud800\"", StringComparison.Ordinal));
        Assert.Equal(3072, GenAIModelFolder.Load(_folder).VocabularySize);
    }

    [Fact]
    public void Missing_weights_are_reported_with_the_model()
    {
        File.Delete(Path.Combine(_folder, "model.onnx.data"));
        var error = Assert.Throws<ModelRewriteException>(LoadDecoder);
        Assert.Contains("model.onnx", error.Message, StringComparison.Ordinal);
        Assert.Contains("model.onnx.data", error.Message, StringComparison.Ordinal);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private void LoadDecoder() => OnnxRuntimeDecoder.Load(GenAIModelFolder.Load(_folder), null, 1).Dispose();

    private void Edit(Action<JsonObject> edit)
    {
        JsonObject config = JsonNode.Parse(File.ReadAllText(ConfigPath))!.AsObject();
        edit(config);
        Rewrite(ConfigPath, config.ToJsonString());
    }

    private static void Rewrite(string path, string text)
    {
        File.Delete(path); // the link, not the bundled file
        File.WriteAllText(path, text);
    }

    private static void Set(JsonObject config, string path, string? json)
    {
        string[] parts = path.Split('.');
        JsonObject parent = config;
        foreach (string part in parts[..^1]) parent = parent[part]!.AsObject();
        if (json is null) parent.Remove(parts[^1]);
        else parent[parts[^1]] = JsonNode.Parse(json);
    }

    private static void AssertRefused(Action load, string file, string? entry)
    {
        var error = Assert.Throws<ModelFolderException>(load);
        Assert.True((file, entry) == (error.File, error.Entry), error.Message);
        Assert.Contains(file, error.Message, StringComparison.Ordinal);
        if (entry is not null) Assert.Contains(entry, error.Message, StringComparison.Ordinal);
    }
}
