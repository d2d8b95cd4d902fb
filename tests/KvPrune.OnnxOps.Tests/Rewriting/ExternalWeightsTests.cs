using System.Diagnostics;
using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Tests.Graphs;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Tests.Rewriting;

public class ExternalWeightsTests
{
    private const string File = "model.onnx.data";
    private const long Bytes = 8 * DecoderGraph.Vocabulary * sizeof(float); // of head_weight

    [Theory]
    [InlineData(null, "cannot be read")]
    [InlineData(60 + Bytes - 1, "'head_weight' has 1280 bytes from 60 on: the file was cut short")]
    [InlineData(60 + Bytes, null)]
    public void Files_have_to_be_there_in_full(long? bytes, string? reason)
    {
        using var folder = new ModelFolder(External(("location", File), ("offset", "60"), ("length", $"{Bytes}")));
        if (bytes is { } length)
            Write(folder, File, length);

        Expect(folder, reason);
    }

    [Theory]
    [InlineData("location", "", "not named")]
    [InlineData("location", "a\0b", "NUL")]
    [InlineData("location", "/model.onnx", "outside the model's folder")]
    [InlineData("location", "../model.onnx", "outside the model's folder")]
    [InlineData("location", "weights/../../model.onnx", "outside the model's folder")]
    [InlineData("location", @"..\model.onnx", "outside the model's folder")]
    [InlineData("location", ".", "cannot be read")]
    [InlineData("offset", "-1", "no number of bytes")]
    [InlineData("length", "9223372036854775807", "cut short")]
    [InlineData("length", "many", "no number of bytes")]
    public void Nonsense_entries_are_named(string key, string value, string reason)
    {
        (string Key, string Usual)[] entries = [("location", "model.onnx"), ("offset", "1"), ("length", "1")];
        using var folder = new ModelFolder(External([.. entries.Select(entry => (entry.Key, entry.Key == key ? value : entry.Usual))]));

        Expect(folder, reason);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("1")]
    public void A_length_that_is_missing_or_too_small_is_the_tensors(string? declared)
    {
        (string, string)[] entries = declared is null ? [("location", File)] : [("location", File), ("length", declared)];
        using var folder = new ModelFolder(External(entries));

        Write(folder, File, Bytes - 1);
        Expect(folder, "cut short");
        Write(folder, File, Bytes);
        Expect(folder, null);
    }

    [Theory]
    [InlineData((int)DataType.Float16, 640)]
    [InlineData((int)DataType.Int8, 320)]
    [InlineData(22, 160)]
    [InlineData(99, 0)]
    public void Lengths_follow_the_element_type(int type, long bytes)
    {
        var model = External(("location", File));
        Weight(model).DataType = type;
        using var folder = new ModelFolder(model);

        Write(folder, File, bytes);
        Expect(folder, null);
        if (bytes == 0)
            return;
        Write(folder, File, bytes - 1);
        Expect(folder, "cut short");
    }

    [Theory]
    [InlineData(-1, 4)]
    [InlineData(1L << 40, 1L << 40)]
    public void Dimensions_that_no_file_holds_are_named(long rows, long columns)
    {
        var model = External(("location", File));
        Weight(model).Dims.Clear();
        Weight(model).Dims.Add([rows, columns]);
        using var folder = new ModelFolder(model);
        Write(folder, File, 10);

        Expect(folder, $"[{rows}, {columns}], which no file holds");
    }

    [Fact]
    public void Links_lead_to_files()
    {
        using var folder = new ModelFolder(External(("location", File)));
        using var blobs = new ModelFolder([]);
        Write(blobs, "blob", Bytes);
        System.IO.File.CreateSymbolicLink(Path.Combine(blobs.Folder, "link"), "blob");
        System.IO.File.CreateSymbolicLink(
            Path.Combine(folder.Folder, File), Path.Combine("..", Path.GetFileName(blobs.Folder), "link"));
        Expect(folder, null);

        Write(blobs, "blob", Bytes - 1);
        Expect(folder, "cut short");
        System.IO.File.Delete(Path.Combine(blobs.Folder, "blob"));
        Expect(folder, "cannot be read");
    }

    [Fact]
    public async Task A_pipe_is_refused_without_waiting_for_a_writer()
    {
        using var folder = new ModelFolder(External(("location", File)));
        using var process = Process.Start("mkfifo", [Path.Combine(folder.Folder, File)]);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(0, process.ExitCode);

        var cancellation = TestContext.Current.CancellationToken;
        await Task.Run(() => Expect(folder, "has 0 bytes"), cancellation).WaitAsync(TimeSpan.FromSeconds(20), cancellation);
    }

    [Fact]
    public void Tensors_of_branches_and_of_constant_nodes_count()
    {
        var chosen = DecoderGraph.Build(new AttentionShape(2, 1, 16, Rotary: true), style: DecoderStyle.ChosenCaches);
        var branch = chosen.Graph.Node.Single(node => node.OpType == "If").Attribute[1].G;
        Place(branch.Initializer[0], ("location", File));
        using var first = new ModelFolder(chosen);
        Expect(first, branch.Initializer[0].Name);

        var model = DecoderGraph.Build(new AttentionShape(1, 1, 8));
        var weight = Weight(model);
        model.Graph.Initializer.Remove(weight);
        Place(weight, ("location", File));
        var value = new AttributeProto { Name = "value", Type = AttributeProto.Types.AttributeType.Tensor, T = weight };
        model.Graph.Node.Insert(0, new NodeProto { OpType = "Constant", Output = { "head_weight" }, Attribute = { value } });
        using var second = new ModelFolder(model);
        Expect(second, "head_weight");
    }

    private static ModelProto External(params (string Key, string Value)[] entries)
    {
        var model = DecoderGraph.Build(new AttentionShape(1, 1, 8));
        Place(Weight(model), entries);
        return model;
    }

    private static void Place(TensorProto tensor, params (string Key, string Value)[] entries)
    {
        tensor.FloatData.Clear();
        tensor.DataLocation = DataLocation.External;
        tensor.ExternalData.Add(entries.Select(entry => new StringStringEntryProto { Key = entry.Key, Value = entry.Value }));
    }

    private static TensorProto Weight(ModelProto model) => model.Graph.Initializer.Single(tensor => tensor.Name == "head_weight");

    private static void Write(ModelFolder folder, string name, long bytes) =>
        System.IO.File.WriteAllBytes(Path.Combine(folder.Folder, name), new byte[bytes]);

    private static void Expect(ModelFolder folder, string? reason)
    {
        if (reason is null)
        {
            GroupQueryAttentionRewriter.Load(folder.ModelPath);
            return;
        }

        var refusal = Assert.Throws<ModelRewriteException>(() => GroupQueryAttentionRewriter.Load(folder.ModelPath));
        Assert.Contains(folder.ModelPath, refusal.Message, StringComparison.Ordinal);
        Assert.Contains(reason, refusal.Message, StringComparison.Ordinal);
    }
}
