using DataType = KvPrune.OnnxOps.Onnx.TensorProto.Types.DataType;

namespace KvPrune.ModelBuilder.Onnx;

/// <summary>One attention layer, from its normed input to its output projection.</summary>
internal sealed class AttentionNodes(NodeWriter nodes)
{
    private readonly ModelShape _shape = nodes.Shape;

    public string Write(int layer, string input)
    {
        var prefix = $"/model/layers.{layer}/attn";
        var (query, key, value) = Project(layer, prefix, input);
        if (_shape.Architecture == Architecture.Qwen3)
        {
            query = HeadNorm(layer, prefix, "q_norm", query, _shape.QueryHeads, "num_attention_heads");
            key = HeadNorm(layer, prefix, "k_norm", key, _shape.KvHeads, "num_key_value_heads");
        }

        if (nodes.Options.RotaryOutside)
        {
            query = Rotate($"{prefix}/q_rotary/RotaryEmbedding", query, _shape.QueryHeads);
            key = Rotate($"{prefix}/k_rotary/RotaryEmbedding", key, _shape.KvHeads);
        }

        var output = nodes.Options.Attention == AttentionLayout.MultiHead
            ? MultiHead(layer, prefix, query, key, value)
            : GroupQuery(layer, prefix, query, key, value);
        return nodes.MatMul($"{prefix}/o_proj/MatMul", output, [ModelTensors.Linear(_shape, layer, "o_proj")]);
    }

    // With packed heads the key and the value are empty: GroupQueryAttention takes all three from its first input.
    private (string Query, string Key, string Value) Project(int layer, string prefix, string input)
    {
        string[] modules = ["q_proj", "k_proj", "v_proj"];
        var biased = _shape.Architecture == Architecture.Qwen2;
        if (nodes.Options.Attention != AttentionLayout.Packed)
        {
            var separate = modules.Select(module =>
            {
                var product = nodes.MatMul($"{prefix}/{module}/MatMul", input, [ModelTensors.Linear(_shape, layer, module)]);
                return biased ? nodes.AddBias($"{prefix}/{module}/Add", product, [ModelTensors.Bias(_shape, layer, module)]) : product;
            }).ToArray();
            return (separate[0], separate[1], separate[2]);
        }

        var packed = nodes.MatMul(
            $"{prefix}/qkv_proj/MatMul", input, [.. modules.Select(module => ModelTensors.Linear(_shape, layer, module))]);
        if (biased)
            packed = nodes.AddBias($"{prefix}/qkv_proj/Add", packed, [.. modules.Select(module => ModelTensors.Bias(_shape, layer, module))]);
        if (_shape.Architecture != Architecture.Qwen3)
            return (packed, "", "");

        // The norms work on heads, so what was packed for one product is taken apart again.
        var split = $"{prefix}/qkv_proj/Split";
        int[] widths = [_shape.QueryWidth, _shape.KvWidth, _shape.KvWidth];
        string[] outputs = [$"{split}/output_0", $"{split}/output_1", $"{split}/output_2"];
        nodes.Graph.Node("Split", split, [packed, nodes.Vector(widths[0], widths[1], widths[2])], outputs, "", ("axis", -1));
        foreach (var (output, width) in outputs.Zip(widths))
            nodes.Graph.Value(output, nodes.Float, NodeWriter.Activation(width));
        return (outputs[0], outputs[1], outputs[2]);
    }

    private string HeadNorm(int layer, string prefix, string module, string input, int heads, string headsName)
    {
        var name = $"{prefix}/{module}";
        var weight = $"model.layers.{layer}.attn.{module}.layernorm.weight";
        Dimension[] perHead = ["batch_size", $"sequence_length * {headsName}", _shape.HeadSize];
        nodes.Graph.Initializer(nodes.Tensors.AsIs(
            weight, nodes.Float, [ModelTensors.Vector(ModelTensors.Norm(layer, $"self_attn.{module}"), _shape.HeadSize)]));
        var rows = nodes.Node("Reshape", $"{name}/Reshape_1", [input, nodes.Vector(0, -1, _shape.HeadSize)], nodes.Float, perHead);
        var normed = nodes.Node(
            "SimplifiedLayerNormalization",
            $"{name}/SimplifiedLayerNormalization",
            [rows, weight],
            nodes.Float,
            perHead,
            ("epsilon", _shape.NormEpsilon), ("axis", -1), ("stash_type", 1));
        var width = heads * _shape.HeadSize;
        return nodes.Node("Reshape", $"{name}/Reshape_2", [normed, nodes.Vector(0, -1, width)], nodes.Float, NodeWriter.Activation(width));
    }

    // The operator cannot tell the number of heads when it turns a part of each only; otherwise GenAI leaves it 0.
    private string Rotate(string name, string input, int heads)
    {
        var partial = _shape.RotarySize < _shape.HeadSize;
        return nodes.Contributed(
            "RotaryEmbedding",
            name,
            [input, "position_ids", RotaryCaches.Cos, RotaryCaches.Sin],
            nodes.Float,
            NodeWriter.Activation(heads * _shape.HeadSize),
            ("interleaved", 0), ("num_heads", partial ? heads : 0), ("rotary_embedding_dim", partial ? _shape.RotarySize : 0));
    }

    private string GroupQuery(int layer, string prefix, string query, string key, string value)
    {
        var name = $"{prefix}/GroupQueryAttention";
        var inside = !nodes.Options.RotaryOutside;
        return Attention("GroupQueryAttention", name, layer,
            [
                query, key, value, $"past_key_values.{layer}.key", $"past_key_values.{layer}.value",
                GroupQueryMask.Lengths, GroupQueryMask.TotalLength, inside ? RotaryCaches.Cos : "", inside ? RotaryCaches.Sin : "",
            ],
            ("num_heads", _shape.QueryHeads),
            ("kv_num_heads", _shape.KvHeads),
            ("scale", (float)_shape.AttentionScale),
            ("local_window_size", _shape.WindowOf(layer)),
            ("softcap", (float)(_shape.AttentionSoftcap ?? 0)),
            ("do_rotary", inside ? 1 : 0),
            ("rotary_interleaved", 0));
    }

    private string MultiHead(int layer, string prefix, string query, string key, string value) => Attention(
        "MultiHeadAttention",
        $"{prefix}/MultiHeadAttention",
        layer,
        [query, key, value, "", "", MultiHeadMask.Bias, $"past_key_values.{layer}.key", $"past_key_values.{layer}.value"],
        ("num_heads", _shape.QueryHeads),
        ("scale", (float)_shape.AttentionScale),
        ("unidirectional", 0));

    private string Attention(string opType, string name, int layer, string[] inputs, params ReadOnlySpan<(string, object)> attributes)
    {
        var output = $"{name}/output_0";
        nodes.Graph.Value(output, nodes.Float, NodeWriter.Activation(_shape.QueryWidth));
        nodes.Graph.Node(
            opType, name, inputs, [output, $"present.{layer}.key", $"present.{layer}.value"], GraphBuilder.MicrosoftDomain, attributes);
        return output;
    }
}
