using DataType = KvPrune.OnnxOps.Onnx.TensorProto.Types.DataType;

namespace KvPrune.ModelBuilder.Onnx;

/// <summary>
/// MultiHeadAttention's bias [batch, heads, tokens, past + tokens]: 0 where a token may look, the lowest number elsewhere. The
/// nodes and their names are those of GenAI's model builder, with its limit: the causal part is [tokens, tokens] and only a
/// width of 1 stretches over a past, so a prompt goes in one piece.
/// </summary>
internal sealed class MultiHeadMask
{
    private const string Basename = "/model/attn_mask_reformat";
    private const string Ids = $"{Basename}/input_ids_subgraph";
    private const string Mask = $"{Basename}/attn_mask_subgraph";
    private const string Any = "unk";

    /// <summary>The bias.</summary>
    public const string Bias = $"{Basename}/Tile/output_0";

    private readonly NodeWriter _nodes;

    private MultiHeadMask(NodeWriter nodes) => _nodes = nodes;

    /// <summary>Writes the nodes and returns the width of the mask as a 64-bit number.</summary>
    public static string Write(NodeWriter nodes) => new MultiHeadMask(nodes).Write();

    private string Write()
    {
        var pastShape = _nodes.Node("Shape", $"{Basename}/past_key_subgraph/Shape", ["past_key_values.0.key"], DataType.Int64, [4]);
        var past = Element($"{Basename}/past_key_subgraph/Gather", pastShape, 2);
        var (batch, tokens, tokensScalar) = Sizes(Ids, "input_ids");
        var total = _nodes.Node("Add", $"{Ids}/Add_1", [tokensScalar, past], DataType.Int64, []);
        var causal = Causal(tokensScalar);
        var causalSize = Concat($"{Ids}/Concat_1", batch, _nodes.Vector(1), tokens, Unsqueeze($"{Ids}/Unsqueeze_3", total, 0, [1]));
        var causalBias = Expand(Ids, causal, causalSize, "ConstantOfShape_1", _nodes.Float);

        var (maskBatch, width, widthScalar) = Sizes(Mask, "attention_mask");
        var rows = Unsqueeze($"{Ids}/Unsqueeze_6", tokensScalar, 0, [1]);
        var maskSize = Concat($"{Mask}/Concat", maskBatch, _nodes.Vector(1), rows, width);
        var wide = Unsqueeze($"{Mask}/Unsqueeze_3", "attention_mask", 1, ["batch_size", 1, "total_sequence_length"]);
        wide = Unsqueeze($"{Mask}/Unsqueeze_4", wide, 2, ["batch_size", 1, 1, "total_sequence_length"]);
        var allowed = Expand(Mask, wide, maskSize, "ConstantOfShape", DataType.Int64);
        Dimension[] square = [Any, Any, Any, Any];
        var cast = _nodes.Cast($"{Mask}/Cast_1", allowed, _nodes.Float, square);
        var forbidden = _nodes.Node("Sub", $"{Mask}/Sub", [_nodes.Number(1), cast], _nodes.Float, square);
        var isForbidden = _nodes.Cast($"{Mask}/Cast_2", forbidden, DataType.Bool, square);
        var paddingBias = _nodes.Node("Where", $"{Mask}/Where_2", [isForbidden, _nodes.Number(Lowest), forbidden], _nodes.Float, square);

        var sum = _nodes.Node("Add", $"{Basename}/Add", [paddingBias, causalBias], _nodes.Float, ["batch_size", 1, "sequence_length", "total_sequence_length"]);
        _nodes.Node(
            "Tile",
            $"{Basename}/Tile",
            [sum, _nodes.Vector(1, _nodes.Shape.QueryHeads, 1, 1)],
            _nodes.Float,
            ["batch_size", _nodes.Shape.QueryHeads, "sequence_length", "total_sequence_length"]);
        return widthScalar;
    }

    private double Lowest => _nodes.Float == DataType.Float ? float.MinValue : (double)Half.MinValue;

    // [1, 1, tokens, tokens]: 0 up to the diagonal, the lowest number behind it.
    private string Causal(string tokens)
    {
        var size = Concat($"{Ids}/Concat_2", Unsqueeze($"{Ids}/Unsqueeze_4", tokens, 0, [1]), Unsqueeze($"{Ids}/Unsqueeze_5", tokens, 0, [1]));
        var lowest = GraphBuilder.Tensor("", _nodes.Float, _nodes.Tensors.Encode([(float)Lowest], _nodes.Float, null), 1);
        var full = _nodes.Node("ConstantOfShape", $"{Ids}/ConstantOfShape_2", [size], _nodes.Float, [Any, Any], ("value", lowest));

        var columnSize = Concat($"{Ids}/Concat_3", Unsqueeze($"{Ids}/Unsqueeze_7", Width(1), 0, [1]), _nodes.Vector(1));
        var range = _nodes.Node("Range", $"{Ids}/Range", [_nodes.Whole(0), Width(2), _nodes.Whole(1)], DataType.Int64, [Any]);
        var next = _nodes.Node("Add", $"{Ids}/Add_2", [range, _nodes.Whole(1)], DataType.Int64, [Any]);
        var column = _nodes.Node("Reshape", $"{Ids}/Reshape", [next, columnSize], DataType.Int64, [Any, 1]);
        var seen = _nodes.Node("Less", $"{Ids}/Less", [range, column], DataType.Bool, [Any, Any]);
        var bias = _nodes.Node("Where", $"{Ids}/Where_2", [seen, _nodes.Number(0), full], _nodes.Float, [Any, Any]);
        bias = Unsqueeze($"{Ids}/Unsqueeze_8", bias, 0, [1, Any, Any], _nodes.Float);
        return Unsqueeze($"{Ids}/Unsqueeze_9", bias, 1, [1, 1, Any, Any], _nodes.Float);

        string Width(int number)
        {
            var shape = _nodes.Node("Shape", $"{Ids}/Shape_{3 + number}", [full], DataType.Int64, [2]);
            var slice = _nodes.Node(
                "Slice", $"{Ids}/Slice_{number}", [shape, _nodes.Vector(-1), _nodes.Vector(long.MaxValue), _nodes.Vector(0)], DataType.Int64, [1]);
            return _nodes.Node("Squeeze", $"{Ids}/Squeeze_{number}", [slice, _nodes.Vector(0)], DataType.Int64, []);
        }
    }

    private (string Rows, string Columns, string ColumnsScalar) Sizes(string basename, string input)
    {
        var rows = Element($"{basename}/Gather_1", _nodes.Node("Shape", $"{basename}/Shape_1", [input], DataType.Int64, [2]), 0);
        var columns = Element($"{basename}/Gather_2", _nodes.Node("Shape", $"{basename}/Shape_2", [input], DataType.Int64, [2]), 1);
        return (Unsqueeze($"{basename}/Unsqueeze_1", rows, 0, [1]), Unsqueeze($"{basename}/Unsqueeze_2", columns, 0, [1]), columns);
    }

    // A size of −1 would mean 1; the sizes here are never that, but GenAI's nodes allow for it.
    private string Expand(string basename, string input, string size, string ones, DataType type)
    {
        var rank = _nodes.Node("Shape", $"{basename}/Shape_3", [size], DataType.Int64, [1]);
        var one = GraphBuilder.Tensor("", DataType.Int64, BitConverter.GetBytes(1L), 1);
        var all = _nodes.Node("ConstantOfShape", $"{basename}/{ones}", [rank], DataType.Int64, [Any], ("value", one));
        var minus = _nodes.Node("Mul", $"{basename}/Mul", [all, _nodes.Whole(-1)], DataType.Int64, [Any]);
        var equal = _nodes.Node("Equal", $"{basename}/Equal", [size, minus], DataType.Bool, [4]);
        var chosen = _nodes.Node("Where", $"{basename}/Where_1", [equal, all, size], DataType.Int64, [4]);
        return _nodes.Node("Expand", $"{basename}/Expand", [input, chosen], type, [Any, Any, Any, Any]);
    }

    private string Element(string name, string vector, int index) =>
        _nodes.Node("Gather", name, [vector, _nodes.Whole(index)], DataType.Int64, [], ("axis", 0));

    private string Unsqueeze(string name, string input, int axis, Dimension[] dimensions, DataType type = DataType.Int64) =>
        _nodes.Node("Unsqueeze", name, [input, _nodes.Vector(axis)], type, dimensions);

    private string Concat(string name, params string[] parts) =>
        _nodes.Node("Concat", name, parts, DataType.Int64, [parts.Length], ("axis", 0));
}
