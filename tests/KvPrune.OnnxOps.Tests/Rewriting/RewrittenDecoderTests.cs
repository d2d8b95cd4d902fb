using Google.Protobuf;
using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Tests.Graphs;
using KvPrune.OnnxOps.Tests.Ops;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.OnnxOps.Tests.Rewriting;

/// <summary>A rewritten decoder's logits are the original's.</summary>
public class RewrittenDecoderTests
{
    private static readonly AttentionShape Shape = new(4, 2, 16, Rotary: true, Layers: 2);

    [Theory]
    [InlineData(LogitsPositions.All, "MatMul")]
    [InlineData(LogitsPositions.Last, "MatMul")]
    [InlineData(LogitsPositions.Last, "Identity")]
    [InlineData(LogitsPositions.Last, "Tanh")]
    public void Logits_over_a_prompt_and_decoding_equal_the_original(LogitsPositions positions, string last)
    {
        var model = DecoderGraph.Build(Shape);
        if (last != "MatMul")
        {
            model.Graph.Node[^1].Output[0] = "projected";
            model.Graph.Node.Add(new NodeProto { Name = last, OpType = last, Input = { "projected" }, Output = { "logits" } });
        }

        using var stock = Sessions.Create(model.ToByteArray());
        var rewriter = ModelFolder.Load(model);
        using var manager = new KvCacheManager(rewriter.Shape(AttentionShape.MaxTokens));
        using var session = Sessions.Create(rewriter.Rewrite(manager.Id, positions));
        using var sequence = manager.CreateSequence(PruningPolicy.Exact);
        var random = new Random(4);
        var tokens = Enumerable.Range(0, 180).Select(_ => random.NextInt64(DecoderGraph.Vocabulary)).ToArray();

        sequence.OpenSegment(150);
        foreach (var (from, to) in new[] { (0, 100), (100, 150), (150, 151), (151, 152) })
        {
            using var step = KvStep.Begin(sequence, to - from);
            var (logits, shape) = Run(session, tokens[from..to], to, [sequence.Handle]);
            step.Commit();
            var (expected, _) = Run(stock, tokens[..to], to, handles: null);
            var rows = positions == LogitsPositions.Last ? 1 : to - from;
            Assert.Equal([1, rows, DecoderGraph.Vocabulary], shape);
            Close.Rows(expected.AsSpan(^(rows * DecoderGraph.Vocabulary)..), logits, DecoderGraph.Vocabulary, 1e-4, $"up to {to}");
        }
    }

    [Fact]
    public void Each_row_of_a_padded_prompt_gets_the_logits_of_its_own_end()
    {
        var rewriter = ModelFolder.Load(DecoderGraph.Build(Shape));
        using var manager = new KvCacheManager(rewriter.Shape(AttentionShape.MaxTokens));
        using var session = Sessions.Create(rewriter.Rewrite(manager.Id, LogitsPositions.Last));
        long[] tokens = [3, 1, 4, 1, 5, 9, 2, 6];

        float[] Alone(long[] own)
        {
            using var sequence = manager.CreateSequence(PruningPolicy.Exact);
            sequence.OpenSegment(own.Length);
            using var step = KvStep.Begin(sequence, own.Length);
            return Run(session, own, own.Length, [sequence.Handle]).Logits;
        }

        using var first = manager.CreateSequence(PruningPolicy.Exact);
        using var second = manager.CreateSequence(PruningPolicy.Exact);
        first.OpenSegment(8);
        second.OpenSegment(5);
        using var step1 = KvStep.Begin(first, 8);
        using var step2 = KvStep.Begin(second, 5);
        long[] mask = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0];
        var (logits, shape) = Run(session, [.. tokens, .. tokens], mask, 2, [first.Handle, second.Handle]);

        Assert.Equal([2, 1, DecoderGraph.Vocabulary], shape);
        Close.Rows([.. Alone(tokens), .. Alone(tokens[..5])], logits, DecoderGraph.Vocabulary, 1e-5, "batch");
    }

    [Fact]
    public void The_declared_logits_have_one_position()
    {
        var output = ModelFolder.Rewrite(DecoderGraph.Build(Shape)).Graph.Output.Single();
        Assert.Equal(1, output.Type.TensorType.Shape.Dim[1].DimValue);
        Assert.Equal(DecoderGraph.Vocabulary, output.Type.TensorType.Shape.Dim[2].DimValue);
    }

    [Theory]
    [InlineData("MatMul", "")]
    [InlineData("MatMulNBits", "com.microsoft")]
    public void The_projection_runs_on_the_gathered_position_only(string opType, string domain)
    {
        var model = DecoderGraph.Build(Shape);
        (model.Graph.Node[^1].OpType, model.Graph.Node[^1].Domain) = (opType, domain);

        var graph = ModelFolder.Rewrite(model).Graph;

        var projection = graph.Node.Single(node => node.Output.Contains("logits"));
        Assert.Equal(opType, projection.OpType);
        Assert.Equal("GatherND", graph.Node.Single(node => node.Output.Contains(projection.Input[0])).OpType);
    }

    [Fact]
    public void Whoever_else_reads_logits_still_gets_every_position()
    {
        var model = DecoderGraph.Build(Shape);
        model.Graph.Node.Add(new NodeProto { OpType = "Softmax", Input = { "logits" }, Output = { "probabilities" } });
        model.Graph.Output.Add(GraphBuilder.Value("probabilities", TensorProto.Types.DataType.Float, "b", "s", "v"));

        var graph = ModelFolder.Rewrite(model).Graph;

        var read = graph.Node.Single(node => node.OpType == "Softmax").Input[0];
        Assert.Equal("MatMul", graph.Node.Single(node => node.Output.Contains(read)).OpType);
        Assert.Equal("GatherND", graph.Node.Single(node => node.Output.Contains("logits")).OpType);
    }

    [Fact]
    public void Logits_of_one_position_need_a_graph_that_can_gather_them()
    {
        var old = DecoderGraph.Build(Shape);
        old.OpsetImport[0].Version = 11;
        Refused(old, "opset 11");

        var unnamed = DecoderGraph.Build(Shape);
        unnamed.Graph.Node[^1].Output[0] = "scores";
        unnamed.Graph.Output[0].Name = "scores";
        Assert.NotEmpty(ModelFolder.Rewrite(unnamed).Graph.Node); // the only output that is left
        unnamed.Graph.Output.Add(GraphBuilder.Value("state.1", TensorProto.Types.DataType.Float, "b", "s", "h"));
        Refused(unnamed, "'logits'");

        var flat = DecoderGraph.Build(Shape);
        flat.Graph.Output[0].Type.TensorType.Shape.Dim.RemoveAt(0);
        Refused(flat, "'logits'");

        static void Refused(ModelProto model, string named)
        {
            var rewriter = ModelFolder.Load(model);
            Assert.NotEmpty(rewriter.Rewrite(1, LogitsPositions.All));
            var refusal = Assert.Throws<ModelRewriteException>(() => rewriter.Rewrite(1, LogitsPositions.Last));
            Assert.Contains(rewriter.ModelPath, refusal.Message, StringComparison.Ordinal);
            Assert.Contains(named, refusal.Message, StringComparison.Ordinal);
        }
    }

    private static (float[] Logits, long[] Shape) Run(InferenceSession session, long[] tokens, int total, long[]? handles) =>
        Run(session, tokens, [.. Enumerable.Repeat(1L, total)], 1, handles);

    private static (float[] Logits, long[] Shape) Run(
        InferenceSession session, long[] tokens, long[] mask, int batch, long[]? handles)
    {
        using var ids = OrtValue.CreateTensorValueFromMemory(tokens, [batch, tokens.Length / batch]);
        using var attention = OrtValue.CreateTensorValueFromMemory(mask, [batch, mask.Length / batch]);
        using var sequences = OrtValue.CreateTensorValueFromMemory(handles ?? [0], [handles?.Length ?? 1]);
        using var past = OrtValue.CreateTensorValueFromMemory(Array.Empty<float>(), [batch, Shape.KvHeads, 0, Shape.HeadSize]);
        var inputs = session.InputNames.ToDictionary(name => name, name => name switch
        {
            "input_ids" => ids,
            "attention_mask" => attention,
            KvPruneOps.SequenceHandlesInput => sequences,
            _ => past,
        });
        using var options = new RunOptions();
        using var outputs = session.Run(options, inputs, ["logits"]);
        return (outputs[0].GetTensorDataAsSpan<float>().ToArray(), outputs[0].GetTensorTypeAndShape().Shape);
    }
}
