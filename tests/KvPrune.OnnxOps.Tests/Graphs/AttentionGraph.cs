using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Tests.Graphs;

/// <summary>
/// Nothing but GroupQueryAttention: every layer reads the same query, key and value and has its own output.
/// </summary>
internal static class AttentionGraph
{
    public static ModelProto Build(AttentionShape shape)
    {
        var graph = new GraphBuilder();
        graph.Input("query", DataType.Float, "batch_size", "sequence_length", shape.QueryWidth);
        graph.Input("key", DataType.Float, "batch_size", "sequence_length", shape.KvWidth);
        graph.Input("value", DataType.Float, "batch_size", "sequence_length", shape.KvWidth);
        graph.Input("seqlens_k", DataType.Int32, "batch_size");
        graph.Input("total_sequence_length", DataType.Int32, 1);
        if (shape.Rotary)
        {
            var (cosine, sine) = shape.RotaryCaches();
            graph.Floats("cos_cache", cosine, AttentionShape.MaxTokens, shape.HeadSize / 2);
            graph.Floats("sin_cache", sine, AttentionShape.MaxTokens, shape.HeadSize / 2);
        }

        for (var layer = 0; layer < shape.Layers; layer++)
        {
            var past = $"past_key_values.{layer}";
            var present = $"present.{layer}";
            foreach (var half in new[] { "key", "value" })
            {
                graph.Input($"{past}.{half}", DataType.Float, "batch_size", shape.KvHeads, "past", shape.HeadSize);
                graph.Output($"{present}.{half}", DataType.Float, "batch_size", shape.KvHeads, "total", shape.HeadSize);
            }

            string[] inputs = ["query", "key", "value", $"{past}.key", $"{past}.value", "seqlens_k", "total_sequence_length"];
            graph.Node(
                "GroupQueryAttention",
                "com.microsoft",
                [$"output.{layer}", $"{present}.key", $"{present}.value"],
                shape.Rotary ? [.. inputs, "cos_cache", "sin_cache"] : inputs,
                ("num_heads", shape.QueryHeads),
                ("kv_num_heads", shape.KvHeads),
                ("do_rotary", shape.Rotary ? 1 : 0));
            graph.Output($"output.{layer}", DataType.Float, "batch_size", "sequence_length", shape.QueryWidth);
        }

        return graph.Model;
    }
}
