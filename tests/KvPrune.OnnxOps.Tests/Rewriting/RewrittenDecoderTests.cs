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

    [Fact]
    public void The_projection_runs_on_the_gathered_position_only()
    {
        var graph = ModelFolder.Rewrite(DecoderGraph.Build(Shape)).Graph;
        var projection = graph.Node.Single(node => node.Output.Contains("logits"));
        Assert.Equal("MatMul", projection.OpType);
        Assert.Equal("GatherND", graph.Node.Single(node => node.Output.Contains(projection.Input[0])).OpType);
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
