using Google.Protobuf;
using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Tests.Graphs;

namespace KvPrune.OnnxOps.Tests.Rewriting;

public class BrokenFileTests
{
    private static readonly byte[] Model = Structure().ToByteArray();

    // Its mask is run, so it keeps the numbers in it.
    private static readonly byte[] MultiHeadModel = Structure(DecoderStyle.MultiHead).ToByteArray();

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

    [Theory]
    [InlineData(false, 1000)]
    [InlineData(true, 300)]
    public void Flipped_and_spliced_bytes_never_cause_another_exception(bool multiHead, int rounds)
    {
        var model = multiHead ? MultiHeadModel : Model;
        using var folder = new ModelFolder(model);
        Assert.True(LoadsOrIsRefused(folder.ModelPath));
        var random = new Random(20);
        var refused = 0;
        for (var round = 0; round < rounds; round++)
        {
            var bytes = (byte[])model.Clone();
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

        Assert.InRange(refused, rounds * 3 / 10, rounds * 99 / 100);
    }

    // Without weights, so that every byte matters.
    private static ModelProto Structure(DecoderStyle style = DecoderStyle.Plain)
    {
        var model = DecoderGraph.Build(new AttentionShape(2, style == DecoderStyle.MultiHead ? 2 : 1, 8, Layers: 2), style: style);
        foreach (var tensor in model.Graph.Initializer.Where(tensor => tensor.FloatData.Count > 1))
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
