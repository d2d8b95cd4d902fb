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

    private enum Operand
    {
        Query, Key, Value, Bias, KeyPaddingMask, AttentionBias, PastKey, PastValue, PastSequenceLength, CacheIndirection,
    }

    private readonly float _scale;
    private readonly string _attentionMask;

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

        foreach (var projection in new[] { Operand.Query, Operand.Key, Operand.Value })
        {
            if (Input(projection).Length == 0)
                throw Refused($"it has no {projection.ToString().ToLowerInvariant()} of its own");
            if (index.TensorType(Input(projection))?.Shape?.Dim.Count is { } rank and not 3)
                throw Refused($"its {projection.ToString().ToLowerInvariant()} has {rank} dimensions, not 3");
        }

        RefuseInput(Operand.KeyPaddingMask, "key_padding_mask");
        RefuseInput(Operand.PastSequenceLength, "past_sequence_length");
        RefuseInput(Operand.CacheIndirection, "cache_indirection");
        if (node.OutputAt(0).Length == 0)
            throw Refused("it has no output");
        if (node.OutputAt(3).Length > 0)
            throw Refused("its output qk has no counterpart");
        ReadCache((int)Operand.PastKey, (int)Operand.PastValue);
        CheckWidth((int)Operand.Query, "query", QueryHeads);
        CheckWidth((int)Operand.Key, "key", KvHeads);
        CheckWidth((int)Operand.Value, "value", KvHeads);
        if (Input(Operand.AttentionBias).Length == 0)
            throw Refused("it has no attention_bias that makes it causal");
        try
        {
            _attentionMask = masks.FindAttentionMask(Input(Operand.AttentionBias));
        }
        catch (ModelRewriteException e)
        {
            throw Refused($"its attention_bias '{Input(Operand.AttentionBias)}' is not known to be the causal mask: {e.Message}");
        }
    }

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
                writer.Node("Sub", [writer.ReduceSum(_attentionMask, 1), writer.Int64([], 1)]), DataType.Int32));
        var total = writer.Shared(
            "total_sequence_length",
            () => writer.Cast(
                writer.Node("Gather", [writer.Node("Shape", [_attentionMask]), writer.Int64([], 1)]), DataType.Int32));
        Write(
            writer,
            layer,
            [.. projections, KvPruneOps.SequenceHandlesInput, total, lengths],
            new AttentionOptions(_scale));
        return lengths;
    }

    private void RefuseInput(Operand operand, string role)
    {
        if (Input(operand).Length > 0)
            throw Refused($"its input {role} ('{Input(operand)}') has no counterpart");
    }

    private string Input(Operand operand) => Source.InputAt((int)operand);
}
