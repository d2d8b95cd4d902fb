using DataType = KvPrune.OnnxOps.Onnx.TensorProto.Types.DataType;

namespace KvPrune.ModelBuilder.Onnx;

/// <summary>
/// The norms along the residual stream, and the stream itself: a norm adds the branch that came before it. Gemma 2's stream and
/// norms are fp32 in an fp16 graph too, because its values outgrow fp16.
/// </summary>
internal sealed class NormNodes(NodeWriter nodes, string embedding)
{
    private readonly DataType _type = nodes.Shape.IsGemma ? DataType.Float : nodes.Float;
    private string _stream = embedding;
    private string? _branch;

    /// <summary>Norms the stream plus the branch, if there is one.</summary>
    /// <param name="location">The layer and the norm's place, as in <c>layers.0.input</c>.</param>
    /// <param name="tensor">The weight's name in the source.</param>
    /// <param name="last">Whether nothing uses the stream any more.</param>
    public string Stream(string location, string tensor, bool last = false)
    {
        var (prefix, weight) = Weight(location, tensor);
        var output = $"{prefix}/output_0";
        var casts = _type != nodes.Float;
        var normed = casts ? $"{prefix}/LayerNorm/output_0/Cast/output_0" : output;
        if (_branch is null)
            Simple($"{prefix}/LayerNorm", _stream, weight, normed);
        else
        {
            // Output 3 is the sum of both inputs: the residual stream.
            var sum = $"{prefix}/output_3";
            string[] outputs = last ? [normed] : [normed, "", "", sum];
            nodes.Graph.Node(
                "SkipSimplifiedLayerNormalization",
                $"{prefix}/SkipLayerNorm",
                [_stream, _branch, weight],
                outputs,
                GraphBuilder.MicrosoftDomain,
                ("epsilon", nodes.Shape.NormEpsilon));
            if (!last)
                nodes.Graph.Value(sum, _type, NodeWriter.Activation(nodes.Shape.Hidden));
            _stream = sum;
        }

        nodes.Graph.Value(normed, _type, NodeWriter.Activation(nodes.Shape.Hidden));
        if (casts)
        {
            nodes.Graph.Node("Cast", $"{prefix}/LayerNorm/output_0/Cast", [normed], [output], "", ("to", (int)nodes.Float));
            nodes.Graph.Value(output, nodes.Float, NodeWriter.Activation(nodes.Shape.Hidden));
        }

        return output;
    }

    /// <summary>The next norm of the stream adds this branch.</summary>
    public void Add(string branch) => _branch = branch;

    /// <summary>The next norm of the stream adds this branch, normed by itself.</summary>
    public void AddNormed(string location, string tensor, string branch)
    {
        var (prefix, weight) = Weight(location, tensor);
        if (_type != nodes.Float)
        {
            branch = nodes.Cast(
                $"{prefix}/LayerNorm/root_input/Cast", branch, _type, NodeWriter.Activation(nodes.Shape.Hidden));
        }

        _branch = $"{prefix}/output_0";
        Simple($"{prefix}/LayerNorm", branch, weight, _branch);
        nodes.Graph.Value(_branch, _type, NodeWriter.Activation(nodes.Shape.Hidden));
    }

    // Gemma's norms multiply by 1 + w.
    private (string Prefix, string Weight) Weight(string location, string tensor)
    {
        var weight = $"model.{location}_layernorm.weight";
        nodes.Graph.Initializer(nodes.Tensors.AsIs(
            weight, _type, [ModelTensors.Vector(tensor, nodes.Shape.Hidden)], addend: nodes.Shape.IsGemma ? 1 : 0));
        return ($"/model/{location}_layernorm", weight);
    }

    private void Simple(string name, string input, string weight, string output) => nodes.Graph.Node(
        "SimplifiedLayerNormalization",
        name,
        [input, weight],
        [output],
        "",
        ("epsilon", nodes.Shape.NormEpsilon), ("axis", -1), ("stash_type", 1));
}
