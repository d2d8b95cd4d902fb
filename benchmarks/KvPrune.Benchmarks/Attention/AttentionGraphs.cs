using Google.Protobuf;
using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Rewriting;

namespace KvPrune.Benchmarks.Attention;

/// <summary>Models of one attention node, without rotary embedding so that only attention is timed.</summary>
internal static class AttentionGraphs
{
    private const int IrVersion = 8;

    /// <summary>com.microsoft GroupQueryAttention with past and present of <paramref name="capacity"/> tokens.</summary>
    public static byte[] Stock(AttentionShape shape, int batch, int capacity, float softcap)
    {
        var node = Node("com.microsoft", "GroupQueryAttention", shape);
        node.Input.Add(["query", "key", "value", "past_key", "past_value", "seqlens_k", "total_sequence_length"]);
        node.Output.Add(["output", "present_key", "present_value"]);
        if (softcap > 0)
            node.Attribute.Add(new AttributeProto { Name = "softcap", Type = AttributeProto.Types.AttributeType.Float, F = softcap });
        long[] cache = [batch, shape.KvHeads, capacity, shape.HeadSize];
        return Model(
            node,
            [.. QueryKeyValue(shape, batch), Float("past_key", cache), Float("past_value", cache), .. Lengths(batch)],
            [Output(shape, batch), Float("present_key", cache), Float("present_value", cache)]);
    }

    /// <summary>The same with a cache of 8-bit integers and a scale per channel and head, which are inputs.</summary>
    public static byte[] StockInt8(AttentionShape shape, int capacity)
    {
        var node = Node("com.microsoft", "GroupQueryAttention", shape);
        node.Attribute.Add([Int("kv_cache_bit_width", 8), Text("k_quant_type", "PER_CHANNEL"), Text("v_quant_type", "PER_CHANNEL")]);
        node.Input.Add(["query", "key", "value", "past_key", "past_value", "seqlens_k", "total_sequence_length"]);
        node.Input.Add(["", "", "", "", "", "k_scale", "v_scale"]); // no rotary, positions, bias or sink
        node.Output.Add(["output", "present_key", "present_value"]);
        long?[] cache = [1, shape.KvHeads, capacity, shape.HeadSize];
        long[] scales = [1, shape.KvHeads, 1, shape.HeadSize];
        ValueInfoProto Int8(string name) => Value(name, TensorProto.Types.DataType.Int8, cache);
        return Model(
            node,
            [.. QueryKeyValue(shape, 1), Int8("past_key"), Int8("past_value"), .. Lengths(1), Float("k_scale", scales), Float("v_scale", scales)],
            [Output(shape, 1), Int8("present_key"), Int8("present_value")]);
    }

    /// <summary>This library's operator on sequences of the manager with the id <paramref name="manager"/>.</summary>
    public static byte[] Pruned(AttentionShape shape, int batch, long manager, float softcap)
    {
        var node = Node("kvprune", "PrunedGroupQueryAttention", shape);
        node.Input.Add(["query", "key", "value", "sequence_handles", "total_sequence_length", "seqlens_k"]);
        node.Output.Add("output");
        node.Attribute.Add(new AttentionOptions(Scale: 0) { Softcap = softcap }.Attributes());
        node.Attribute.Add([Int("layer", 0), Int("cache_manager", manager)]);
        return Model(
            node,
            [.. QueryKeyValue(shape, batch), Value("sequence_handles", TensorProto.Types.DataType.Int64, [batch]), .. Lengths(batch)],
            [Output(shape, batch)]);
    }

    private static NodeProto Node(string domain, string type, AttentionShape shape)
    {
        var node = new NodeProto { Name = "attention", Domain = domain, OpType = type };
        node.Attribute.Add([Int("num_heads", shape.QueryHeads), Int("kv_num_heads", shape.KvHeads)]);
        return node;
    }

    private static byte[] Model(NodeProto node, IEnumerable<ValueInfoProto> inputs, IEnumerable<ValueInfoProto> outputs)
    {
        var graph = new GraphProto { Name = "attention" };
        graph.Node.Add(node);
        graph.Input.Add(inputs);
        graph.Output.Add(outputs);
        var model = new ModelProto { IrVersion = IrVersion, Graph = graph };
        model.OpsetImport.Add([new OperatorSetIdProto { Domain = "", Version = 17 }, new OperatorSetIdProto { Domain = node.Domain, Version = 1 }]);
        return model.ToByteArray();
    }

    // The number of tokens is left open: the same graph reads the prompt and decodes.
    private static ValueInfoProto[] QueryKeyValue(AttentionShape shape, int batch) =>
        [Float("query", [batch, null, shape.QueryWidth]), Float("key", [batch, null, shape.KvWidth]), Float("value", [batch, null, shape.KvWidth])];

    private static ValueInfoProto[] Lengths(int batch) =>
        [Value("seqlens_k", TensorProto.Types.DataType.Int32, [batch]), Value("total_sequence_length", TensorProto.Types.DataType.Int32, [1])];

    private static ValueInfoProto Output(AttentionShape shape, int batch) => Float("output", [batch, null, shape.QueryWidth]);

    private static ValueInfoProto Float(string name, long[] dimensions) => Float(name, Array.ConvertAll(dimensions, d => (long?)d));

    private static ValueInfoProto Float(string name, long?[] dimensions) => Value(name, TensorProto.Types.DataType.Float, dimensions);

    private static ValueInfoProto Value(string name, TensorProto.Types.DataType type, long?[] dimensions)
    {
        var shape = new TensorShapeProto();
        foreach (var dimension in dimensions)
        {
            shape.Dim.Add(dimension is { } fixedSize
                ? new TensorShapeProto.Types.Dimension { DimValue = fixedSize }
                : new TensorShapeProto.Types.Dimension { DimParam = "tokens" });
        }

        return new ValueInfoProto
        {
            Name = name,
            Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)type, Shape = shape } },
        };
    }

    private static AttributeProto Text(string name, string value) =>
        new() { Name = name, Type = AttributeProto.Types.AttributeType.String, S = ByteString.CopyFromUtf8(value) };

    private static AttributeProto Int(string name, long value) =>
        new() { Name = name, Type = AttributeProto.Types.AttributeType.Int, I = value };
}
