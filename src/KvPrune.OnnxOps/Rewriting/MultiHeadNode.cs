using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>
/// A node of com.microsoft.MultiHeadAttention 1 that is causal self-attention: its attention_bias is the causal mask,
/// made from the graph's attention mask.
/// </summary>
internal sealed class MultiHeadNode : AttentionNode
{
    public const string OpType = "MultiHeadAttention";

    private static class Operand
    {
        public const int Query = 0, Key = 1, Value = 2, Bias = 3, KeyPaddingMask = 4, AttentionBias = 5, PastKey = 6, PastValue = 7,
            PastSequenceLength = 8, CacheIndirection = 9;
    }

    private readonly float _scale;

    public MultiHeadNode(NodeProto node, GraphIndex index, CausalMasks masks)
        : base(node, index)
    {
        var attributes = new AttributeReader(node);
        QueryHeads = KvHeads = attributes.RequirePositive("num_heads");
        _scale = attributes.Float("scale", 0);
        // The causal mask that the node has anyway, and what masked logits are: nothing of either is left.
        attributes.RefuseUnless("unidirectional", 0, 1);
        _ = attributes.Float("mask_filter_value", 0);
        attributes.RefuseOthers();

        foreach (var (projection, role) in new[] { (Operand.Query, "query"), (Operand.Key, "key"), (Operand.Value, "value") })
        {
            if (Input(projection).Length == 0)
                throw Refused($"it has no {role} of its own");
            if (index.TensorType(Input(projection))?.Shape?.Dim.Count is { } rank and not 3)
                throw Refused($"its {role} has {rank} dimensions, not 3");
        }

        RefuseInput(Operand.KeyPaddingMask, "key_padding_mask");
        RefuseInput(Operand.PastSequenceLength, "past_sequence_length");
        RefuseInput(Operand.CacheIndirection, "cache_indirection");
        if (node.OutputAt(0).Length == 0)
            throw Refused("it has no output");
        if (node.OutputAt(3).Length > 0)
            throw Refused("its output qk has no counterpart");
        ReadCache(Operand.PastKey, Operand.PastValue);
        CheckWidth(Operand.Query, "query", QueryHeads);
        CheckWidth(Operand.Key, "key", KvHeads);
        CheckWidth(Operand.Value, "value", KvHeads);
        CheckBias();
        if (Input(Operand.AttentionBias).Length == 0)
            throw Refused("it has no attention_bias that makes it causal");
        try
        {
            AttentionMask = masks.FindAttentionMask(Input(Operand.AttentionBias), QueryHeads);
        }
        catch (ModelRewriteException e)
        {
            throw Refused($"its attention_bias '{Input(Operand.AttentionBias)}' is not known to be the causal mask: {e.Message}", e);
        }
    }

    /// <summary>The graph input from which the node's causal mask is made.</summary>
    public string AttentionMask { get; }

    public override string Translate(int layer, NodeWriter writer)
    {
        string[] projections =
        [
            Float32(writer, Input(Operand.Query)), Float32(writer, Input(Operand.Key)), Float32(writer, Input(Operand.Value)),
        ];
        if (Input(Operand.Bias).Length > 0)
        {
            var width = QueryHeads * (long)HeadSize;
            var biases = writer.Split(Float32(writer, Input(Operand.Bias)), 0, width, width, width);
            for (var i = 0; i < projections.Length; i++)
                projections[i] = writer.Node("Add", [projections[i], biases[i]]);
        }

        var lengths = writer.Shared(
            "seqlens_k",
            () => writer.Cast(
                writer.Node("Sub", [writer.ReduceSum(AttentionMask, 1), writer.Int64([], 1)]), DataType.Int32));
        var total = writer.Shared(
            "total_sequence_length",
            () => writer.Cast(
                writer.Node("Gather", [writer.Node("Shape", [AttentionMask]), writer.Int64([], 1)]), DataType.Int32));
        Write(
            writer,
            layer,
            [.. projections, KvPruneOps.SequenceHandlesInput, total, lengths],
            new AttentionOptions(_scale));
        return lengths;
    }
    private void CheckBias()
    {
        var dims = Index.Initializer(Input(Operand.Bias)) is { } tensor
            ? [.. tensor.Dims]
            : Index.TensorType(Input(Operand.Bias))?.Shape?.Dim.Select(dim => dim.DimValue).ToArray();
        var width = 3L * QueryHeads * HeadSize;
        // 0: a width that has a name or none.
        if (dims is not null && (dims.Length != 1 || (dims[0] != width && dims[0] > 0)))
            throw Refused($"its bias is [{string.Join(", ", dims)}], heads and channels of query, key and value make [{width}]");
    }
}
