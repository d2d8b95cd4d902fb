using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Tests.Graphs;

/// <summary>A small decoder with random weights in the form in which GenAI's model builder writes one.</summary>
internal static class DecoderGraph
{
    public const int Vocabulary = 40;

    public static ModelProto Build(AttentionShape shape, int seed = 1)
    {
        var graph = new GraphBuilder();
        var random = new Random(seed);
        var hidden = shape.QueryWidth;
        graph.Input("input_ids", DataType.Int64, "batch_size", "sequence_length");
        graph.Input("attention_mask", DataType.Int64, "batch_size", "total_sequence_length");
        for (var layer = 0; layer < shape.Layers; layer++)
        {
            foreach (var half in new[] { "key", "value" })
            {
                graph.Input(
                    $"past_key_values.{layer}.{half}",
                    DataType.Float,
                    "batch_size", shape.KvHeads, "past_sequence_length", shape.HeadSize);
            }
        }

        graph.Output("logits", DataType.Float, "batch_size", "sequence_length", Vocabulary);
        MaskNodes(graph);
        if (shape.Rotary)
        {
            var (cosine, sine) = shape.RotaryCaches();
            graph.Floats("cos_cache", cosine, AttentionShape.MaxTokens, shape.HeadSize / 2);
            graph.Floats("sin_cache", sine, AttentionShape.MaxTokens, shape.HeadSize / 2);
        }

        string Weight(string name, int rows, int columns)
        {
            var values = new float[rows * columns];
            for (var i = 0; i < values.Length; i++)
                values[i] = (float)((random.NextDouble() - 0.5) * 3 / Math.Sqrt(rows));
            return graph.Floats(name, values, rows, columns);
        }

        var state = graph.Node("Gather", "embedded", [Weight("embedding", Vocabulary, hidden), "input_ids"]);
        for (var layer = 0; layer < shape.Layers; layer++)
        {
            string Projected(string role, int width) =>
                graph.Node("MatMul", $"{role}.{layer}", [state, Weight($"{role}_weight.{layer}", hidden, width)]);
            string[] inputs =
            [
                Projected("q", shape.QueryWidth), Projected("k", shape.KvWidth), Projected("v", shape.KvWidth),
                $"past_key_values.{layer}.key", $"past_key_values.{layer}.value", "seqlens_k", "total_length",
            ];
            graph.Node(
                "GroupQueryAttention",
                "com.microsoft",
                [$"attention.{layer}", $"present.{layer}.key", $"present.{layer}.value"],
                shape.Rotary ? [.. inputs, "cos_cache", "sin_cache"] : inputs,
                ("num_heads", shape.QueryHeads),
                ("kv_num_heads", shape.KvHeads),
                ("scale", (float)(1 / Math.Sqrt(shape.HeadSize))),
                ("local_window_size", -1),
                ("softcap", 0f),
                ("do_rotary", shape.Rotary ? 1 : 0),
                ("rotary_interleaved", 0));
            var weight = Weight($"o_weight.{layer}", hidden, hidden);
            var mixed = graph.Node("MatMul", $"o.{layer}", [$"attention.{layer}", weight]);
            state = graph.Node("Add", $"state.{layer}", [state, mixed]);
            foreach (var half in new[] { "key", "value" })
            {
                graph.Output(
                    $"present.{layer}.{half}",
                    DataType.Float,
                    "batch_size", shape.KvHeads, "total_sequence_length", shape.HeadSize);
            }
        }

        graph.Node("MatMul", "logits", [state, Weight("head_weight", hidden, Vocabulary)]);
        return graph.Model;
    }

    // seqlens_k = sum of the mask's row - 1, total_length = the mask's width, both int32.
    private static void MaskNodes(GraphBuilder graph)
    {
        graph.Int64s("one", [1], 1);
        graph.Int64s("one_scalar", [1]);
        graph.Node("ReduceSum", "mask_sum", ["attention_mask", "one"], ("keepdims", 0));
        graph.Node("Sub", "mask_last", ["mask_sum", "one"]);
        graph.Node("Cast", "seqlens_k", ["mask_last"], ("to", (int)DataType.Int32));
        graph.Node("Shape", "mask_shape", ["attention_mask"]);
        graph.Node("Gather", "mask_width", ["mask_shape", "one_scalar"], ("axis", 0));
        graph.Node("Cast", "total_length", ["mask_width"], ("to", (int)DataType.Int32));
    }
}
