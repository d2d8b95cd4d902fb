using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Tests.Graphs;

/// <summary>
/// Nothing but GroupQueryAttention: every layer reads the same query, key and value, or its own, and has its own output.
/// </summary>
internal static class AttentionGraph
{
    public static ModelProto Build(AttentionShape shape)
    {
        var graph = new GraphBuilder();
        string[] Typed(IEnumerable<string> values) => [.. values.Select(value => AttentionGraph.Typed(graph, shape, value))];
        var shared = shape.LayerInputs ? null : Typed(Projections(graph, shape, ""));
        graph.Input("seqlens_k", DataType.Int32, "batch_size");
        graph.Input("total_sequence_length", DataType.Int32, 1);
        string[] optional = Typed(Optional(graph, shape));

        for (var layer = 0; layer < shape.Layers; layer++)
        {
            var past = $"past_key_values.{layer}";
            var present = $"present.{layer}";
            foreach (var half in new[] { "key", "value" })
            {
                graph.Input($"{past}.{half}", shape.Element, "batch_size", shape.KvHeads, "past", shape.HeadSize);
                graph.Output($"{present}.{half}", shape.Element, "batch_size", shape.KvHeads, "total", shape.HeadSize);
            }

            var projections = shared ?? Typed(Projections(graph, shape, $".{layer}"));
            var output = $"output.{layer}";
            var attention = shape.Element == DataType.Float ? output : output + "/typed";
            graph.Node(
                "GroupQueryAttention",
                "com.microsoft",
                [attention, $"{present}.key", $"{present}.value"],
                [.. projections, $"{past}.key", $"{past}.value", "seqlens_k", "total_sequence_length", .. optional],
                Attributes(shape, layer));
            if (attention != output)
                graph.Node("Cast", output, [attention], ("to", (int)DataType.Float));
            graph.Output(output, DataType.Float, "batch_size", "sequence_length", shape.QueryWidth);
        }

        return graph.Model;
    }

    /// <summary>The attributes that say what <paramref name="shape"/> says of a layer; those at their defaults are left out.</summary>
    public static (string Name, object Value)[] Attributes(AttentionShape shape, int layer)
    {
        var attributes = new List<(string, object)>
        {
            ("num_heads", shape.QueryHeads), ("kv_num_heads", shape.KvHeads), ("do_rotary", shape.Rotary ? 1 : 0),
        };
        if (shape.Interleaved)
            attributes.Add(("rotary_interleaved", 1));
        if (shape.Windows[layer % shape.Windows.Count] is > 0 and var window)
            attributes.Add(("local_window_size", window));
        if (shape.Softcap > 0)
            attributes.Add(("softcap", shape.Softcap));
        if (shape.SmoothSoftmax)
            attributes.Add(("smooth_softmax", 1));
        return [.. attributes];
    }

    // Inputs 0 to 2.
    private static string[] Projections(GraphBuilder graph, AttentionShape shape, string suffix)
    {
        string Input(string name, int width) =>
            graph.Input(name + suffix, DataType.Float, "batch_size", "sequence_length", width);
        return shape.Packed
            ? [Input("query", shape.QueryWidth + (2 * shape.KvWidth)), "", ""]
            : [Input("query", shape.QueryWidth), Input("key", shape.KvWidth), Input("value", shape.KvWidth)];
    }

    // Inputs 7 to 11, up to the last one that is there.
    private static string[] Optional(GraphBuilder graph, AttentionShape shape)
    {
        string[] inputs = ["", "", "", "", ""];
        if (shape.Rotary)
        {
            var (cosine, sine) = shape.RotaryCaches();
            inputs[0] = graph.Floats("cos_cache", cosine, AttentionShape.MaxTokens, shape.RotarySize / 2);
            inputs[1] = graph.Floats("sin_cache", sine, AttentionShape.MaxTokens, shape.RotarySize / 2);
        }

        if (shape.HeadSink)
            inputs[4] = graph.Floats("sinks", shape.HeadSinks(), shape.QueryHeads);
        return inputs[..(Array.FindLastIndex(inputs, input => input.Length > 0) + 1)];
    }

    private static string Typed(GraphBuilder graph, AttentionShape shape, string value) =>
        value.Length == 0 || shape.Element == DataType.Float
            ? value
            : graph.Node("Cast", value + "/typed", [value], ("to", (int)shape.Element));
}
