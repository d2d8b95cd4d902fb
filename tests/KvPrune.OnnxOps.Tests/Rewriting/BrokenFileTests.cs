using Google.Protobuf;
using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Tests.Graphs;

namespace KvPrune.OnnxOps.Tests.Rewriting;

public class BrokenFileTests
{
    private static readonly byte[] Model = Structure().ToByteArray();

    [Fact]
    public void A_missing_file_is_named()
    {
        var path = Path.Combine(Path.GetTempPath(), "no-such-folder", "model.onnx");

        var refusal = Assert.Throws<ModelRewriteException>(() => GroupQueryAttentionRewriter.Load(path));

        Assert.Contains(path, refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_and_an_empty_file_are_named()
    {
        using var folder = new ModelFolder([]);

        Assert.Contains(folder.ModelPath, Refusal(folder.ModelPath).Message, StringComparison.Ordinal);
        Assert.Contains(folder.Folder, Refusal(folder.Folder).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null, "model.onnx.data", "cannot be read")]
    [InlineData(99L, "head_weight", "cut short")]
    [InlineData(100L, null, null)]
    public void External_weights_have_to_be_there_in_full(long? bytes, params string?[] expected)
    {
        var model = Structure();
        var weight = model.Graph.Initializer.Single(tensor => tensor.Name == "head_weight");
        weight.DataLocation = TensorProto.Types.DataLocation.External;
        weight.ExternalData.Add(
        [
            new StringStringEntryProto { Key = "location", Value = "model.onnx.data" },
            new StringStringEntryProto { Key = "offset", Value = "60" },
            new StringStringEntryProto { Key = "length", Value = "40" },
        ]);
        using var folder = new ModelFolder(model);
        if (bytes is { } length)
            File.WriteAllBytes(Path.Combine(folder.Folder, "model.onnx.data"), new byte[length]);

        if (expected is [null, ..])
        {
            GroupQueryAttentionRewriter.Load(folder.ModelPath);
            return;
        }

        var refusal = Refusal(folder.ModelPath).Message;
        Assert.All(expected, part => Assert.Contains(part!, refusal, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("location", "")]
    [InlineData("offset", "-1")]
    [InlineData("length", "9223372036854775807")]
    [InlineData("length", "many")]
    public void External_weights_with_nonsense_entries_are_named(string key, string value)
    {
        var model = Structure();
        var weight = model.Graph.Initializer.Single(tensor => tensor.Name == "head_weight");
        weight.DataLocation = TensorProto.Types.DataLocation.External;
        foreach (var (name, usual) in new[] { ("location", "model.onnx"), ("offset", "1"), ("length", "1") })
            weight.ExternalData.Add(new StringStringEntryProto { Key = name, Value = name == key ? value : usual });
        using var folder = new ModelFolder(model);

        Assert.Contains("head_weight", Refusal(folder.ModelPath).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_too_large_for_protobuf_is_refused_by_its_size()
    {
        using var folder = new ModelFolder(Model);
        using (var file = File.OpenWrite(folder.ModelPath))
            file.SetLength(3L << 30); // sparse

        Assert.Contains("3221225472", Refusal(folder.ModelPath).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Truncation_at_any_place_is_refused()
    {
        var graphOnly = Structure();
        graphOnly.OpsetImport.Clear(); // the only fields behind the graph
        using var folder = new ModelFolder(Model);
        for (var length = graphOnly.CalculateSize() - 1; length >= 0; length -= 7)
        {
            File.WriteAllBytes(folder.ModelPath, Model[..length]);
            Assert.False(LoadsOrIsRefused(folder.ModelPath), $"{length} bytes");
        }
    }

    [Fact]
    public void Flipped_and_spliced_bytes_never_cause_another_exception()
    {
        using var folder = new ModelFolder(Model);
        var random = new Random(20);
        var refused = 0;
        for (var round = 0; round < 1000; round++)
        {
            var bytes = (byte[])Model.Clone();
            for (var change = random.Next(1, 5); change > 0; change--)
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            if (random.Next(4) == 0)
            {
                var (from, to) = (random.Next(bytes.Length), random.Next(bytes.Length));
                var count = random.Next(Math.Min(200, bytes.Length - Math.Max(from, to)));
                Array.Copy(bytes, from, bytes, to, count);
            }

            File.WriteAllBytes(folder.ModelPath, bytes);
            refused += LoadsOrIsRefused(folder.ModelPath) ? 0 : 1;
        }

        Assert.InRange(refused, 300, 990);
    }

    // Without weights, so that every byte matters.
    private static ModelProto Structure()
    {
        var model = DecoderGraph.Build(new AttentionShape(2, 1, 4, Layers: 2));
        foreach (var tensor in model.Graph.Initializer)
            tensor.FloatData.Clear();
        return model;
    }

    private static ModelRewriteException Refusal(string path) =>
        Assert.Throws<ModelRewriteException>(() => GroupQueryAttentionRewriter.Load(path));

    // Any exception but the one meant for it fails the test.
    private static bool LoadsOrIsRefused(string path)
    {
        try
        {
            var rewriter = GroupQueryAttentionRewriter.Load(path);
            rewriter.Rewrite(1, LogitsPositions.All);
            rewriter.Rewrite(1, LogitsPositions.Last);
            return true;
        }
        catch (ModelRewriteException e)
        {
            Assert.Contains(path, e.Message, StringComparison.Ordinal);
            return false;
        }
    }
}
