using DataType = KvPrune.OnnxOps.Onnx.TensorProto.Types.DataType;

namespace KvPrune.ModelBuilder.Onnx;

/// <summary>What GroupQueryAttention is told of attention_mask: two lengths.</summary>
internal static class GroupQueryMask
{
    private const string Basename = "/model/attn_mask_reformat/attn_mask_subgraph";

    /// <summary>The number of tokens of each row − 1, int32 [batch].</summary>
    public const string Lengths = $"{Basename}/Sub/Cast/output_0";

    /// <summary>The width of the mask, int32.</summary>
    public const string TotalLength = $"{Basename}/Gather/Cast/output_0";

    /// <summary>Writes the nodes and returns the width of the mask as a 64-bit number.</summary>
    public static string Write(NodeWriter nodes)
    {
        var sum = nodes.Node(
            "ReduceSum", $"{Basename}/ReduceSum", ["attention_mask", nodes.Vector(1)], DataType.Int64, ["batch_size"], ("keepdims", 0));
        var last = nodes.Node("Sub", $"{Basename}/Sub", [sum, nodes.Vector(1)], DataType.Int64, ["batch_size"]);
        nodes.Cast($"{Basename}/Sub/Cast", last, DataType.Int32, "batch_size");
        var size = nodes.Node("Shape", $"{Basename}/Shape", ["attention_mask"], DataType.Int64, [2]);
        var width = nodes.Node("Gather", $"{Basename}/Gather", [size, nodes.Whole(1)], DataType.Int64, [], ("axis", 0));
        nodes.Cast($"{Basename}/Gather/Cast", width, DataType.Int32);
        return width;
    }
}
