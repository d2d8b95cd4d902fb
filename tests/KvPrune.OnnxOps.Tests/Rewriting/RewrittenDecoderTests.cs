using Google.Protobuf;
using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Tests.Graphs;
using KvPrune.OnnxOps.Tests.Ops;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

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

    public static MatrixTheoryData<string, LogitsPositions> Exports =>
        new(ExportCases.Keys, [LogitsPositions.All, LogitsPositions.Last]);

    private static readonly AttentionShape Heads = new(4, 4, 16, Rotary: true, Layers: 2);

    // What is rewritten, how it is written, and how it is written for the original where that cannot run it.
    private static readonly Dictionary<string, (AttentionShape Shape, DecoderStyle Style, DecoderStyle Stock)> ExportCases = new()
    {
        ["packed"] = (Shape with { Packed = true }, DecoderStyle.Plain, DecoderStyle.Plain),
        ["packed, float16"] = (Shape with { Packed = true, Element = DataType.Float16 }, DecoderStyle.Plain, DecoderStyle.Plain),
        ["window and softcap"] = (Shape with { Window = 30, Softcap = 3 }, DecoderStyle.Plain, DecoderStyle.Plain),
        ["alternating windows"] = (Shape with { Windows = [24, -1] }, DecoderStyle.Plain, DecoderStyle.Plain),
        ["sinks, float16"] = (Shape with { HeadSink = true, Element = DataType.Float16 }, DecoderStyle.Plain, DecoderStyle.Plain),
        ["position_ids"] = (Shape, DecoderStyle.PositionIds, DecoderStyle.PositionIds),
        ["rotary outside"] = (Shape, DecoderStyle.RotaryOutside, DecoderStyle.RotaryOutside),
        ["partial rotary outside"] =
            (new(4, 2, 32, Rotary: true, Layers: 2) { RotarySize = 16, Interleaved = true }, DecoderStyle.RotaryOutside, DecoderStyle.RotaryOutside),
        ["norms"] = (Shape, DecoderStyle.Normalized, DecoderStyle.Normalized),
        ["fused norms"] = (Shape, DecoderStyle.FusedNorms, DecoderStyle.Normalized),
        ["fused norms, float16"] =
            (Shape with { Element = DataType.Float16 }, DecoderStyle.FusedNorms, DecoderStyle.Normalized),
        ["multi-head"] = (Heads, DecoderStyle.MultiHead, DecoderStyle.MultiHead),
        ["multi-head with bias"] = (Heads, DecoderStyle.MultiHeadBias, DecoderStyle.MultiHeadBias),
        ["multi-head, float16"] = (Heads with { Element = DataType.Float16 }, DecoderStyle.MultiHead, DecoderStyle.MultiHead),
    };

    [Theory]
    [MemberData(nameof(Exports))]
    public void Every_way_of_writing_attention_gives_the_originals_logits(string name, LogitsPositions positions)
    {
        var (shape, style, stockStyle) = ExportCases[name];
        using var stock = Sessions.Create(DecoderGraph.Build(shape, style: stockStyle).ToByteArray());
        var rewriter = ModelFolder.Load(DecoderGraph.Build(shape, style: style));
        using var manager = new KvCacheManager(rewriter.Shape(AttentionShape.MaxTokens));
        using var session = Sessions.Create(rewriter.Rewrite(manager.Id, positions));
        using var sequence = manager.CreateSequence(PruningPolicy.Exact);
        var random = new Random(5);
        var tokens = Enumerable.Range(0, 200).Select(_ => random.NextInt64(DecoderGraph.Vocabulary)).ToArray();

        sequence.OpenSegment(120);
        foreach (var (from, to) in (ReadOnlySpan<(int, int)>)[(0, 70), (70, 120), .. Enumerable.Range(120, 80).Select(i => (i, i + 1))])
        {
            using var step = KvStep.Begin(sequence, to - from);
            var (logits, _) = Run(session, tokens[from..to], to, [sequence.Handle]);
            step.Commit();
            if (to - from == 1 && to % 10 != 0)
                continue;
            var (expected, _) = Run(stock, tokens[..to], to, handles: null);
            // The original computes in half precision where its graph does.
            Close.Rows(
                expected.AsSpan(^(positions == LogitsPositions.All ? (to - from) * DecoderGraph.Vocabulary : DecoderGraph.Vocabulary)..),
                logits,
                DecoderGraph.Vocabulary,
                shape.Element == DataType.Float ? 1e-5 : 3e-3,
                $"{name}, up to {to}");
        }

        Assert.Equal(TensorElementType.Float, session.OutputMetadata["logits"].ElementDataType);
    }

    [Theory]
    [InlineData((int)DataType.Float, 1e-4)]
    [InlineData((int)DataType.Float16, 3e-3)]
    public void Rotary_caches_are_taken_from_where_the_graph_chooses_them(int element, double tolerance)
    {
        var model = DecoderGraph.Build(Shape with { Element = (DataType)element }, style: DecoderStyle.ChosenCaches);
        using var stock = Sessions.Create(model.ToByteArray());
        var rewriter = ModelFolder.Load(model);
        using var manager = new KvCacheManager(rewriter.Shape(AttentionShape.MaxTokens));
        using var session = Sessions.Create(rewriter.Rewrite(manager.Id, LogitsPositions.All));
        var random = new Random(6);
        foreach (var length in new[] { 100, 110, 111, 150 })
        {
            using var sequence = manager.CreateSequence(PruningPolicy.Exact);
            var tokens = Enumerable.Range(0, length).Select(_ => random.NextInt64(DecoderGraph.Vocabulary)).ToArray();
            sequence.OpenSegment(length);
            using var step = KvStep.Begin(sequence, length);
            var (logits, _) = Run(session, tokens, length, [sequence.Handle]);
            Close.Rows(Run(stock, tokens, length, handles: null).Logits, logits, DecoderGraph.Vocabulary, tolerance, $"{length} tokens");
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
        var start = (mask.Length - tokens.Length) / batch;
        long[] positions = [.. Enumerable.Range(0, tokens.Length).Select(i => (long)start + (i % (tokens.Length / batch)))];
        using var positionIds = OrtValue.CreateTensorValueFromMemory(positions, [batch, tokens.Length / batch]);
        OrtValue EmptyPast(string name)
        {
            var past = session.InputMetadata[name];
            return OrtValue.CreateAllocatedTensorValue(
                OrtAllocator.DefaultInstance, past.ElementDataType, [batch, past.Dimensions[1], 0, past.Dimensions[3]]);
        }

        var inputs = session.InputNames.ToDictionary(name => name, name => name switch
        {
            "input_ids" => ids,
            "attention_mask" => attention,
            "position_ids" => positionIds,
            KvPruneOps.SequenceHandlesInput => sequences,
            _ => EmptyPast(name),
        });
        using var options = new RunOptions();
        using var outputs = session.Run(options, inputs, ["logits"]);
        foreach (var input in inputs.Values)
            input.Dispose();
        var type = outputs[0].GetTensorTypeAndShape();
        return (type.ElementDataType == TensorElementType.Float16
            ? [.. outputs[0].GetTensorDataAsSpan<Float16>().ToArray().Select(half => half.ToFloat())]
            : outputs[0].GetTensorDataAsSpan<float>().ToArray(), type.Shape);
    }
}
