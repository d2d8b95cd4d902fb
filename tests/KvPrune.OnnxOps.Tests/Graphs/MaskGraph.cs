using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Tests.Graphs;

/// <summary>What decoders make from their attention mask.</summary>
internal static class MaskGraph
{
    /// <summary>seqlens_k = sum of the mask's row - 1, total_length = the mask's width, both int32.</summary>
    public static void AddLengths(GraphBuilder graph)
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

    /// <summary>
    /// causal_bias [batch, heads, S, T]: a triangle over the new tokens, broadcast over the past, plus what the attention
    /// mask leaves out. As in GenAI's exports several tokens over a past do not work.
    /// </summary>
    public static void AddCausalBias(GraphBuilder graph, AttentionShape shape)
    {
        var least = shape.Element == DataType.Float16 ? -65504f : float.MinValue;
        graph.Int64s("zero", [0]);
        graph.Int64s("one", [1]);
        graph.Int64s("two", [2]);
        graph.Int64s("first", [0], 1);
        graph.Int64s("second", [1], 1);
        graph.Int64s("leading", [0, 1], 2);
        graph.Int64s("middle", [1, 2], 2);
        graph.Values("nothing", shape.Element, [0], 1);
        graph.Values("hidden", shape.Element, [least], 1);
        graph.Int64s("tiles", [1, shape.QueryHeads, 1, 1], 4);

        string Dim(string input, string index) =>
            graph.Node("Gather", $"{input}/{index}", [graph.Node("Shape", $"{input}/shape/{index}", [input]), index]);
        var (batch, tokens) = (Dim("input_ids", "zero"), Dim("input_ids", "one"));
        graph.Node("Add", "all_tokens", [tokens, Dim("past_key_values.0.key", "two")]);
        string Unsqueezed(string value) => graph.Node("Unsqueeze", value + "/1d", [value, "first"]);
        graph.Node("Concat", "mask_dims", [Unsqueezed(batch), "second", Unsqueezed(tokens), Unsqueezed("all_tokens")], ("axis", 0));

        graph.Node("Range", "columns", ["zero", tokens, "one"]);
        graph.Node("Unsqueeze", "rows", ["columns", "second"]);
        graph.Node("LessOrEqual", "is_past", ["columns", "rows"]);
        graph.Node("Where", "triangle", ["is_past", "nothing", "hidden"]);
        graph.Node("Expand", "causal", [graph.Node("Unsqueeze", "triangle/4d", ["triangle", "leading"]), "mask_dims"]);

        graph.Node("Unsqueeze", "mask/4d", ["attention_mask", "middle"]);
        graph.Node("Expand", "mask/expanded", ["mask/4d", "mask_dims"]);
        graph.Node("Cast", "is_valid", ["mask/expanded"], ("to", (int)DataType.Bool));
        graph.Node("Where", "padding", ["is_valid", "nothing", "hidden"]);
        graph.Node("Add", "one_head", ["padding", "causal"]);
        graph.Node("Tile", "causal_bias", ["one_head", "tiles"]);
    }
}
