using KvPrune.AI.Models;
using KvPrune.ModelBuilder;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Tests.Models;

public sealed class ModelInspectionTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kvprune-inspect-").FullName;

    public ModelInspectionTests()
    {
        foreach (string file in Directory.EnumerateFiles(BundledModel.Folder))
            File.CreateSymbolicLink(Path.Combine(_folder, Path.GetFileName(file)), file);
    }

    [Fact]
    public void The_bundled_folder_can_be_run_and_its_bytes_are_those_of_a_real_sequence()
    {
        ModelInspection inspection = KvPruneModel.Inspect(BundledModel.Folder);
        Assert.Empty(inspection.Obstacles);
        Assert.Equal("llama", inspection.Configuration!.ModelType);
        Assert.Equal(inspection.Shape!.Layers, inspection.AttentionNodes.Count);
        Assert.Equal(PruningPolicy.Presets.Keys.Order(), inspection.KvBytesPer1000Tokens.Keys.Order());
        // 16-bit storage with nothing removed: only the tail, whose rows are not in full tiles, may add a little.
        double dense = (double)inspection.KvBytesPer1000Tokens["dense"] / inspection.DenseKvBytesPer1000Tokens;
        Assert.InRange(dense, 1, 1.01);
        Assert.True(inspection.ModelBytes > 10_000_000);
    }

    [Fact]
    public void Every_part_that_is_broken_is_reported_at_once()
    {
        Replace("tokenizer.json", "{}");
        Replace("tokenizer_config.json", """{"chat_template": "{% unknown %}"}""");
        byte[] weights = File.ReadAllBytes(Path.Combine(BundledModel.Folder, "model.onnx.data"));
        File.Delete(Path.Combine(_folder, "model.onnx.data"));
        File.WriteAllBytes(Path.Combine(_folder, "model.onnx.data"), weights.AsSpan(0, weights.Length - 1));

        ModelInspection inspection = KvPruneModel.Inspect(_folder);

        Assert.Equal([ModelPart.Graph, ModelPart.Tokenizer, ModelPart.ChatTemplate], inspection.Obstacles.Select(o => o.Part));
        Assert.Contains("cut short", inspection.Obstacles[0].Problem, StringComparison.Ordinal);
        Assert.Contains("model.onnx.data", inspection.Obstacles[0].Problem, StringComparison.Ordinal);
        Assert.Null(inspection.Shape);
        Assert.Empty(inspection.KvBytesPer1000Tokens);
    }

    [Fact]
    public void A_folder_that_does_not_exist_and_an_empty_one_are_described_too()
    {
        Assert.Contains(KvPruneModel.Inspect(Path.Combine(_folder, "none")).Obstacles, o => o.Part == ModelPart.Configuration);
        string empty = Directory.CreateDirectory(Path.Combine(_folder, "empty")).FullName;
        ModelInspection inspection = KvPruneModel.Inspect(empty);
        Assert.Null(inspection.Configuration);
        Assert.Contains(inspection.Obstacles, o => o.Problem.Contains("genai_config.json", StringComparison.Ordinal));
    }

    [Fact]
    public void Weights_behind_a_link_that_leads_nowhere_are_reported()
    {
        File.Delete(Path.Combine(_folder, "model.onnx.data"));
        File.CreateSymbolicLink(Path.Combine(_folder, "model.onnx.data"), Path.Combine(_folder, "nowhere"));
        ModelObstacle obstacle = Assert.Single(KvPruneModel.Inspect(_folder).Obstacles);
        Assert.Equal(ModelPart.Graph, obstacle.Part);
        Assert.Contains("model.onnx.data", obstacle.Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void Heads_that_the_cache_cannot_hold_are_reported()
    {
        string folder = Path.Combine(_folder, "wide");
        RandomModel.Build(folder, ModelShapes.Tiny.WithHeads(2, 1, 264), seed: 1);
        ModelInspection inspection = KvPruneModel.Inspect(folder);
        Assert.Contains(inspection.Obstacles, o => o.Part == ModelPart.Graph && o.Problem.Contains("264", StringComparison.Ordinal));
        Assert.Empty(inspection.KvBytesPer1000Tokens);
    }

    [Fact]
    public void A_vocabulary_larger_than_the_logits_is_named()
    {
        string config = File.ReadAllText(Path.Combine(BundledModel.Folder, "genai_config.json"));
        Replace("genai_config.json", config.Replace("\"vocab_size\": 3072", "\"vocab_size\": 3000", StringComparison.Ordinal)
            .Replace("3071", "2999", StringComparison.Ordinal));
        ModelObstacle obstacle = Assert.Single(KvPruneModel.Inspect(_folder).Obstacles);
        Assert.Equal(ModelPart.Configuration, obstacle.Part);
        Assert.Contains("vocab_size", obstacle.Problem, StringComparison.Ordinal);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private void Replace(string name, string text)
    {
        File.Delete(Path.Combine(_folder, name));
        File.WriteAllText(Path.Combine(_folder, name), text);
    }
}
