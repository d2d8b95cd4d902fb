using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>A node of com.microsoft.GroupQueryAttention 1.</summary>
internal sealed class GroupQueryNode : AttentionNode
{
    public const string OpType = "GroupQueryAttention";

    private static class Operand
    {
        public const int Query = 0, Key = 1, Value = 2, PastKey = 3, PastValue = 4, SeqlensK = 5, TotalSequenceLength = 6,
            CosCache = 7, SinCache = 8, PositionIds = 9, AttentionBias = 10, HeadSink = 11, KScale = 12, VScale = 13,
            QNormWeight = 14, KNormWeight = 15;
    }

    // Below, 1 / softcap is near or past the end of what float32 holds.
    private const float LeastSoftcap = 1e-30f;

    private readonly bool _packed;
    private readonly float _normEpsilon;
    private readonly AttentionOptions _options;

    public GroupQueryNode(NodeProto node, GraphIndex index)
        : base(node, index)
    {
        _packed = Input(Operand.Key).Length == 0 && Input(Operand.Value).Length == 0;
        var attributes = new AttributeReader(node);
        QueryHeads = attributes.RequirePositive("num_heads");
        KvHeads = attributes.RequirePositive("kv_num_heads");
        _normEpsilon = attributes.Float("qk_norm_epsilon", 1e-6f);
        _options = ReadOptions(attributes);
        attributes.RefuseUnless("causal", 1);
        attributes.RefuseUnless("qk_output", 0);
        attributes.RefuseUnless("k_quant_type", "NONE");
        attributes.RefuseUnless("v_quant_type", "NONE");
        attributes.RefuseUnless("kv_cache_bit_width", 0);
        // How the past tensors of a layer with a window are laid out; they go away.
        attributes.RefuseUnless("sliding_window_cache", 0, 1);
        if (attributes.Int("sliding_window_cache", 0) == 1 && _options.Window < 0)
            throw Refused("its attribute sliding_window_cache = 1 needs a local_window_size");
        attributes.RefuseOthers();

        if (QueryHeads % KvHeads != 0)
            throw Refused($"num_heads {QueryHeads} is no multiple of kv_num_heads {KvHeads}");
        CheckOperands();
        ReadCache(Operand.PastKey, Operand.PastValue);
        // GroupQueryAttention itself refuses others, but only when it runs.
        if (_options.Rotary && HeadSize % 16 != 0)
            throw Refused($"its heads have {HeadSize} channels; with do_rotary, only multiples of 16 are supported");
        CheckWidth(Operand.Query, _packed ? "packed query, key and value" : "query", QueryHeads + (_packed ? 2L * KvHeads : 0));
        if (_packed)
            return;
        CheckWidth(Operand.Key, "key", KvHeads);
        CheckWidth(Operand.Value, "value", KvHeads);
    }

    public override string Translate(int layer, NodeWriter writer)
    {
        var query = Float32(writer, Input(Operand.Query));
        string[] projections = _packed
            ? writer.Split(query, 2, QueryHeads * (long)HeadSize, KvHeads * (long)HeadSize, KvHeads * (long)HeadSize)
            : [query, Float32(writer, Input(Operand.Key)), Float32(writer, Input(Operand.Value))];
        if (Input(Operand.QNormWeight).Length > 0)
        {
            projections[0] = Normalized(writer, projections[0], Operand.QNormWeight, QueryHeads);
            projections[1] = Normalized(writer, projections[1], Operand.KNormWeight, KvHeads);
        }

        string[] optional =
        [
            _options.Rotary ? RotaryCache(writer, Operand.CosCache) : "",
            _options.Rotary ? RotaryCache(writer, Operand.SinCache) : "",
            Float32(writer, Input(Operand.HeadSink)),
        ];
        var present = Array.FindLastIndex(optional, value => value.Length > 0) + 1;
        string[] lengths = [Input(Operand.TotalSequenceLength), Input(Operand.SeqlensK)];
        Write(
            writer,
            layer,
            [.. projections, KvPruneOps.SequenceHandlesInput, .. lengths, .. optional[..present]],
            _options);
        return Input(Operand.SeqlensK);
    }

    private AttentionOptions ReadOptions(AttributeReader attributes)
    {
        var window = attributes.Int("local_window_size", -1);
        if (window is not (-1 or (> 0 and <= int.MaxValue)))
            throw Refused($"its attribute local_window_size = {window} is neither -1 nor a number of tokens");
        var softcap = attributes.Float("softcap", 0);
        if (!(softcap == 0 || (softcap >= LeastSoftcap && float.IsFinite(softcap))))
            throw Refused($"its attribute softcap = {softcap} has no counterpart");
        attributes.RefuseUnless("do_rotary", 0, 1);
        attributes.RefuseUnless("rotary_interleaved", 0, 1);
        attributes.RefuseUnless("smooth_softmax", 0, 1, -1);
        return new AttentionOptions(attributes.Float("scale", 0))
        {
            Rotary = attributes.Int("do_rotary", 0) == 1,
            RotaryInterleaved = attributes.Int("rotary_interleaved", 0) == 1,
            Window = window,
            Softcap = softcap,
            SmoothSoftmax = attributes.Int("smooth_softmax", 0) == 1,
        };
    }

    private void CheckOperands()
    {
        if (Input(Operand.Query).Length == 0)
            throw Refused("it has no query");
        if (!_packed && (Input(Operand.Key).Length == 0 || Input(Operand.Value).Length == 0))
            throw Refused("it has only one of key and value");
        if (Input(Operand.SeqlensK).Length == 0 || Input(Operand.TotalSequenceLength).Length == 0)
            throw Refused("its input seqlens_k or total_sequence_length is missing");
        if (_options.Rotary && (Input(Operand.CosCache).Length == 0 || Input(Operand.SinCache).Length == 0))
            throw Refused("do_rotary is set without cos_cache and sin_cache");
        if (Input(Operand.QNormWeight).Length == 0 != (Input(Operand.KNormWeight).Length == 0))
            throw Refused("it has only one of q_norm_weight and k_norm_weight");
        RefuseInput(Operand.AttentionBias, "attention_bias");
        RefuseInput(Operand.KScale, "k_scale");
        RefuseInput(Operand.VScale, "v_scale");
        for (var i = Operand.KNormWeight + 1; i < Source.Input.Count; i++)
            RefuseInput(i, $"number {i}");
        CheckPositions();
        if (Source.OutputAt(0).Length == 0)
            throw Refused("it has no output");
        if (Source.OutputAt(3).Length > 0)
            throw Refused("its output output_qk has no counterpart");
    }

    // The layers share their caches.
    private string RotaryCache(NodeWriter writer, int operand)
    {
        var cache = Input(operand);
        return writer.Shared(
            $"float32 {cache}", () => Element == DataType.Float ? cache : BranchConstants.Cast(Index, cache, writer) ?? Float32(writer, cache));
    }

    // Hosts feed consecutive positions through the input of this name, which is what the operator counts itself.
    private void CheckPositions()
    {
        const string name = "position_ids";
        var positions = Input(Operand.PositionIds);
        if (positions.Length == 0)
            return;
        var origin = Index.BackThroughCasts(positions).Last();
        if (origin != name || !Index.Inputs.Contains(origin) || Index.Initializer(origin) is not null)
            throw Refused($"its position_ids '{positions}' come from '{origin}', not from a graph input '{name}'");
        if (Index.TensorType(origin) is not { ElemType: (int)DataType.Int64, Shape.Dim.Count: 2 })
            throw Refused($"graph input '{name}' is not declared as int64 [batch, tokens]");
        foreach (var other in new[] { Operand.SeqlensK, Operand.TotalSequenceLength, Operand.PastKey, Operand.PastValue })
        {
            if (Index.BackThroughCasts(Input(other)).LastOrDefault() == origin)
                throw Refused($"graph input '{name}' is also what its '{Input(other)}' comes from");
        }
    }

    // Root mean square over each head's channels.
    private string Normalized(NodeWriter writer, string value, int weight, int heads)
    {
        var rows = writer.Reshape(value, 0, 0, heads, HeadSize);
        var normal = writer.Node(
            "SimplifiedLayerNormalization",
            [rows, Float32(writer, Input(weight))],
            NodeAttribute.Int("axis", -1),
            NodeAttribute.Float("epsilon", _normEpsilon));
        return writer.Reshape(normal, 0, 0, heads * (long)HeadSize);
    }
}
