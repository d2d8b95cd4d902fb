using Google.Protobuf;
using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Rewriting;
using KvPrune.OnnxOps.Tests.Graphs;
using KvPrune.OnnxOps.Tests.Ops;
using Microsoft.ML.OnnxRuntime;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Tests.Rewriting;

public class NodeWriterTests
{
    [Theory]
    [InlineData(11)]
    [InlineData(12)]
    [InlineData(13)]
    [InlineData(21)]
    public void Split_and_sum_run_in_every_version_of_the_standard_operators(int opset)
    {
        var graph = new GraphBuilder();
        graph.Model.OpsetImport[0].Version = opset;
        graph.Input("rows", DataType.Int64, 2, 5);
        var writer = new NodeWriter(graph.Model);
        var parts = writer.Split("rows", 1, 2, 3);
        writer.NodeTo("sums", "Identity", [writer.ReduceSum(parts[1], 1)]);
        graph.Model.Graph.Node.Add(writer.Nodes);
        graph.Output("sums", DataType.Int64, 2);

        using var session = Sessions.Create(graph.Model.ToByteArray());
        using var rows = OrtValue.CreateTensorValueFromMemory(new long[] { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, [2, 5]);
        using var options = new RunOptions();
        using var outputs = session.Run(options, new Dictionary<string, OrtValue> { ["rows"] = rows }, ["sums"]);

        Assert.Equal([3 + 4 + 5, 8 + 9 + 10], outputs[0].GetTensorDataAsSpan<long>().ToArray());
    }

    [Fact]
    public void Names_are_new_and_shared_values_are_made_once()
    {
        var graph = new GraphBuilder();
        graph.Input("kvprune/value", DataType.Float, 1);
        var writer = new NodeWriter(graph.Model);

        var first = writer.Shared("cast", () => writer.Cast("kvprune/value", DataType.Float16));
        Assert.Equal(first, writer.Shared("cast", () => throw new InvalidOperationException()));
        var second = writer.Cast("kvprune/value", DataType.Float16);

        Assert.Equal(3, new[] { "kvprune/value", first, second }.Distinct().Count());
        Assert.Equal([first, second], writer.Nodes.Select(node => node.Output[0]));
    }
}
