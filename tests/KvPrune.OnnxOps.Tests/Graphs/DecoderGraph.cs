using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Tests.Graphs;

/// <summary>A small decoder with random weights in the form in which GenAI's model builder writes one.</summary>
internal sealed class DecoderGraph
{
    public const int Vocabulary = 40;

    private readonly GraphBuilder _graph = new();
    private readonly AttentionShape _shape;
    private readonly DecoderStyle _style;
    private readonly int _seed;

    private DecoderGraph(AttentionShape shape, DecoderStyle style, int seed)
    {
        _shape = shape;
        _style = style;
        _seed = seed;
    }

    private bool MultiHead => _style is DecoderStyle.MultiHead or DecoderStyle.MultiHeadBias;

    private bool RotaryOutside => MultiHead || _style == DecoderStyle.RotaryOutside;

    public static ModelProto Build(AttentionShape shape, int seed = 1, DecoderStyle style = DecoderStyle.Plain) =>
        new DecoderGraph(shape, style, seed).Build();

    private ModelProto Build()
    {
        _graph.Input("input_ids", DataType.Int64, "batch_size", "sequence_length");
        _graph.Input("attention_mask", DataType.Int64, "batch_size", "total_sequence_length");
        if (RotaryOutside || _style == DecoderStyle.PositionIds)
            _graph.Input("position_ids", DataType.Int64, "batch_size", "sequence_length");
        for (var layer = 0; layer < _shape.Layers; layer++)
        {
            foreach (var half in new[] { "key", "value" })
            {
                _graph.Input(
                    $"past_key_values.{layer}.{half}",
                    _shape.Element,
                    "batch_size", _shape.KvHeads, "past_sequence_length", _shape.HeadSize);
            }
        }

        _graph.Output("logits", _shape.Element, "batch_size", "sequence_length", Vocabulary);
        if (MultiHead)
            MaskGraph.AddCausalBias(_graph, _shape);
        else
            MaskGraph.AddLengths(_graph);
        if (_shape.Rotary)
            AddRotaryCaches();

        var hidden = _shape.QueryWidth;
        var state = _graph.Node("Gather", "embedded", [Weight("embedding", Vocabulary, hidden), "input_ids"]);
        for (var layer = 0; layer < _shape.Layers; layer++)
        {
            var attention = Attention(layer, state);
            var mixed = _graph.Node("MatMul", $"o.{layer}", [attention, Weight($"o_weight.{layer}", hidden, hidden)]);
            state = _graph.Node("Add", $"state.{layer}", [state, mixed]);
            foreach (var half in new[] { "key", "value" })
            {
                _graph.Output(
                    $"present.{layer}.{half}",
                    _shape.Element,
                    "batch_size", _shape.KvHeads, "total_sequence_length", _shape.HeadSize);
            }
        }

        _graph.Node("MatMul", "logits", [state, Weight("head_weight", hidden, Vocabulary)]);
        return _graph.Model;
    }

    private string Attention(int layer, string state)
    {
        var hidden = _shape.QueryWidth;
        string Projected(string role, int width) =>
            _graph.Node("MatMul", $"{role}.{layer}", [state, Weight($"{role}_weight.{layer}", hidden, width)]);
        string[] projections = _shape.Packed
            ? [Projected("qkv", hidden + (2 * _shape.KvWidth)), "", ""]
            : [Projected("q", hidden), Projected("k", _shape.KvWidth), Projected("v", _shape.KvWidth)];
        if (_style == DecoderStyle.Normalized)
        {
            projections[0] = Normalized(projections[0], $"q_norm.{layer}", _shape.QueryHeads);
            projections[1] = Normalized(projections[1], $"k_norm.{layer}", _shape.KvHeads);
        }

        if (_shape.Rotary && RotaryOutside)
        {
            projections[0] = Rotated(projections[0], _shape.QueryHeads);
            projections[1] = Rotated(projections[1], _shape.KvHeads);
        }

        string[] past = [$"past_key_values.{layer}.key", $"past_key_values.{layer}.value"];
        string[] outputs = [$"attention.{layer}", $"present.{layer}.key", $"present.{layer}.value"];
        var scale = ("scale", (object)(float)(1 / Math.Sqrt(_shape.HeadSize)));
        if (MultiHead)
        {
            var bias = _style == DecoderStyle.MultiHeadBias ? Weight($"qkv_bias.{layer}", 1, 3 * hidden) : "";
            _graph.Node(
                "MultiHeadAttention",
                "com.microsoft",
                outputs,
                [.. projections, bias.Length == 0 ? "" : _graph.Node("Reshape", bias + "/flat", [bias, MinusOne()]), "", "causal_bias", .. past],
                ("num_heads", _shape.QueryHeads), scale, ("unidirectional", 0));
            return outputs[0];
        }

        string[] optional = ["", "", "", "", "", "", "", "", ""];
        if (_shape.Rotary && !RotaryOutside)
            (optional[0], optional[1]) = ("cos_cache", "sin_cache");
        if (_style == DecoderStyle.PositionIds)
            optional[2] = "position_ids";
        if (_shape.HeadSink)
            optional[4] = _graph.Values($"sinks.{layer}", _shape.Element, _shape.HeadSinks(), _shape.QueryHeads);
        if (_style == DecoderStyle.FusedNorms)
            (optional[7], optional[8]) = (NormWeight($"q_norm.{layer}"), NormWeight($"k_norm.{layer}"));
        var attributes = AttentionGraph.Attributes(_shape with { Rotary = _shape.Rotary && !RotaryOutside }, layer).Append(scale);
        if (_style == DecoderStyle.FusedNorms)
            attributes = attributes.Append(("qk_norm_epsilon", 1e-5f));
        _graph.Node(
            "GroupQueryAttention",
            "com.microsoft",
            outputs,
            [
                .. projections, .. past, "seqlens_k", "total_length",
                .. optional[..(Array.FindLastIndex(optional, input => input.Length > 0) + 1)],
            ],
            [.. attributes]);
        return outputs[0];
    }

    private string MinusOne() => _graph.Model.Graph.Initializer.Any(tensor => tensor.Name == "minus_one")
        ? "minus_one"
        : _graph.Int64s("minus_one", [-1], 1);

    private void AddRotaryCaches()
    {
        var (cosine, sine) = _shape.RotaryCaches();
        long[] dims = [AttentionShape.MaxTokens, _shape.RotarySize / 2];
        if (_style != DecoderStyle.ChosenCaches)
        {
            _graph.Values("cos_cache", _shape.Element, cosine, dims);
            _graph.Values("sin_cache", _shape.Element, sine, dims);
            return;
        }

        GraphProto Branch(string name, float scale)
        {
            var branch = new GraphBuilder();
            foreach (var (cache, values) in new[] { ("cos", cosine), ("sin", sine) })
            {
                branch.Values($"{cache}_{name}", _shape.Element, [.. values.Select(x => x * scale)], dims);
                branch.Node("Identity", $"{cache}_{name}_chosen", [$"{cache}_{name}"]);
                branch.Output($"{cache}_{name}_chosen", _shape.Element, [.. dims.Select(dim => (object)dim)]);
            }

            return branch.Model.Graph;
        }

        _graph.Int64s("border", [110]);
        _graph.Node("Greater", "is_long", ["mask_width", "border"]);
        _graph.Node(
            "If", "", ["cos_cache", "sin_cache"], ["is_long"], ("then_branch", Branch("long", 1.5f)), ("else_branch", Branch("short", 1)));
    }

    private string Rotated(string value, int heads) =>
        _graph.Node(
            "RotaryEmbedding",
            "com.microsoft",
            [value + "/rotated"],
            [value, "position_ids", "cos_cache", "sin_cache"],
            ("interleaved", _shape.Interleaved ? 1 : 0),
            ("num_heads", _shape.RotarySize == _shape.HeadSize ? 0 : heads),
            ("rotary_embedding_dim", _shape.RotarySize == _shape.HeadSize ? 0 : _shape.RotarySize)).Output[0];

    private string Normalized(string value, string weight, int heads)
    {
        var rows = _graph.Node("Reshape", value + "/rows", [value, _graph.Int64s(value + "/rows_shape", [0, 0, heads, _shape.HeadSize], 4)]);
        _graph.Node("SimplifiedLayerNormalization", value + "/normal", [rows, NormWeight(weight)], ("axis", -1), ("epsilon", 1e-5f));
        var shape = _graph.Int64s(value + "/normal_shape", [0, 0, heads * _shape.HeadSize], 3);
        return _graph.Node("Reshape", value + "/normalized", [value + "/normal", shape]);
    }

    private string NormWeight(string name)
    {
        var random = Seeded(name);
        var values = Enumerable.Range(0, _shape.HeadSize).Select(_ => (float)(0.5 + random.NextDouble()));
        return _graph.Values(name, _shape.Element, [.. values], _shape.HeadSize);
    }

    // Weights depend on their names, so that decoders that write the same attention in two ways are equal.
    private string Weight(string name, int rows, int columns)
    {
        var random = Seeded(name);
        var values = new float[rows * columns];
        for (var i = 0; i < values.Length; i++)
            values[i] = (float)((random.NextDouble() - 0.5) * 3 / Math.Sqrt(rows));
        return _graph.Values(name, _shape.Element, values, rows, columns);
    }

    private Random Seeded(string name) => new(name.Aggregate(_seed, (hash, letter) => unchecked((hash * 31) + letter)));
}
