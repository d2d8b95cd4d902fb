using KvPrune.OnnxOps.Onnx;
using DataType = KvPrune.OnnxOps.Onnx.TensorProto.Types.DataType;

namespace KvPrune.ModelBuilder.Onnx;

/// <summary>The cosines and sines of rotary positions, [tokens, pairs].</summary>
internal static class RotaryCaches
{
    public const string Cos = "cos_cache";
    public const string Sin = "sin_cache";

    /// <summary>Writes both tables; with LongRoPE an If node that picks them by the length of the whole sequence.</summary>
    /// <param name="nodes">The graph.</param>
    /// <param name="totalLength">The value that holds the length of the whole sequence, a 64-bit number.</param>
    public static void Write(NodeWriter nodes, string totalLength)
    {
        var shape = nodes.Shape;
        if (shape.RopeScaling is not LongRopeScaling rope)
        {
            foreach (var (name, function) in Functions)
            {
                var frequencies = RopeScalingRules.Frequencies(shape);
                nodes.Graph.Initializer(nodes.Tensors.Table(
                    name, nodes.Float, shape.ContextLength, frequencies.Length, (first, rows) => Fill(rows, first, frequencies, 1, function)));
            }

            return;
        }

        const string basename = "/model/rope_caches_subgraph";
        var greater = nodes.Node(
            "Greater", $"{basename}/Greater", [totalLength, nodes.Whole(rope.OriginalContext)], DataType.Bool, []);
        nodes.Graph.Node(
            "If",
            $"{basename}/If",
            [greater],
            [Cos, Sin],
            "",
            ("then_branch", Branch(nodes, rope, "large", shape.ContextLength)),
            ("else_branch", Branch(nodes, rope, "small", rope.OriginalContext)));
        foreach (var (name, _) in Functions)
            nodes.Graph.Value(name, nodes.Float, "max_sequence_length", "head_dim / 2");
    }

    private static readonly (string Name, Func<double, double> Function)[] Functions = [(Cos, Math.Cos), (Sin, Math.Sin)];

    // Constants inside the branch, as GenAI writes them: a branch cannot return an initializer of the graph around it.
    private static GraphBuilder Branch(NodeWriter nodes, LongRopeScaling rope, string size, int tokens)
    {
        var large = size == "large";
        var frequencies = RopeScalingRules.Frequencies(nodes.Shape, large);
        var magnitude = RopeScalingRules.Magnitude(nodes.Shape, rope, large);
        var branch = new GraphBuilder($"{size}_rope_caches_graph");
        foreach (var (name, function) in Functions)
        {
            var table = new float[tokens * frequencies.Length];
            Fill(table, 0, frequencies, magnitude, function);
            var tensor = GraphBuilder.Tensor("", nodes.Float, nodes.Tensors.Encode(table, nodes.Float, null), tokens, frequencies.Length);
            branch.Node("Constant", $"/{size}/{name}/Constant", [], [$"{name}_{size}"], "", ("value", tensor));
            branch.Output($"{name}_{size}", nodes.Float, tokens, frequencies.Length);
        }

        return branch;
    }

    // Angles in double: in fp32 an angle of 10⁵ would be off by 10⁻² before its cosine is taken.
    private static void Fill(Span<float> rows, int first, double[] frequencies, double magnitude, Func<double, double> function)
    {
        for (var i = 0; i < rows.Length; i++)
        {
            var (row, pair) = Math.DivRem(i, frequencies.Length);
            rows[i] = (float)(function((first + (double)row) * frequencies[pair]) * magnitude);
        }
    }
}
