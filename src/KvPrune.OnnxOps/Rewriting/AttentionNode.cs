using System.Globalization;
using System.Text.RegularExpressions;
using KvPrune.OnnxOps.Onnx;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>A GroupQueryAttention node that can be translated, and what it says about the model.</summary>
internal sealed partial class AttentionNode
{
    private const int PastKey = 3, PastValue = 4, SeqlensK = 5, TotalSequenceLength = 6, CosCache = 7, SinCache = 8;

    // Inputs of com.microsoft.GroupQueryAttention 1 after the ones above.
    private static readonly string[] Untranslated = ["position_ids", "attention_bias", "head_sink", "k_scale", "v_scale"];

    private readonly NodeProto _node;

    private AttentionNode(NodeProto node, GraphIndex index)
    {
        _node = node;
        RequireInputs();
        var attributes = new AttributeReader(node);
        QueryHeads = attributes.RequirePositive("num_heads");
        KvHeads = attributes.RequirePositive("kv_num_heads");
        Scale = attributes.Float("scale", 0);
        Rotary = attributes.Int("do_rotary", 0) != 0;
        attributes.RefuseUnless("rotary_interleaved", 0);
        attributes.RefuseUnless("local_window_size", -1);
        attributes.RefuseUnless("smooth_softmax", 0, -1);
        attributes.RefuseUnless("softcap", 0f);
        attributes.RefuseUnless("qk_output", 0);
        attributes.RefuseUnless("k_quant_type", "NONE");
        attributes.RefuseUnless("v_quant_type", "NONE");
        attributes.RefuseUnless("kv_cache_bit_width", 0);
        attributes.RefuseOthers();

        if (QueryHeads % KvHeads != 0)
            throw Refused($"num_heads {QueryHeads} is no multiple of kv_num_heads {KvHeads}");
        if (Rotary && (node.InputAt(CosCache).Length == 0 || node.InputAt(SinCache).Length == 0))
            throw Refused("do_rotary is set without cos_cache and sin_cache");
        if (node.OutputAt(0).Length == 0)
            throw Refused("it has no output");
        if (node.OutputAt(3).Length > 0)
            throw Refused("its output output_qk has no counterpart");

        PastInputs = [FindPast(index, PastKey, "past_key"), FindPast(index, PastValue, "past_value")];
        HeadSize = CheckShapes(index);
        LayerInName = LayerNumber().Match(PastInputs[0]) is { Success: true } match
            && int.TryParse(match.ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture, out var layer) ? layer : null;
    }

    public int QueryHeads { get; }

    public int KvHeads { get; }

    public int HeadSize { get; }

    public float Scale { get; }

    public bool Rotary { get; }

    /// <summary>The graph inputs that the node's past_key and past_value come from.</summary>
    public IReadOnlyList<string> PastInputs { get; }

    /// <summary>The N of past_key_values.N.key; null where the name carries no number.</summary>
    public int? LayerInName { get; }

    /// <summary>The value with each row's valid tokens less one, int32.</summary>
    public string SequenceLengths => _node.Input[SeqlensK];

    /// <summary>present_key and present_value where the node makes them.</summary>
    public IEnumerable<string> PresentOutputs => _node.Output.Skip(1).Where(output => output.Length > 0);

    public string Name => _node.Name;

    public string Label => _node.Label();

    /// <summary>Describes <paramref name="node"/>.</summary>
    /// <exception cref="ModelRewriteException">It uses something that the pruned operator does not have.</exception>
    public static AttentionNode Read(NodeProto node, GraphIndex index) => new(node, index);

    /// <summary>The node that takes this one's place.</summary>
    public NodeProto Translate(int layer)
    {
        var node = new NodeProto { Name = _node.Name, OpType = PrunedAttention.OpType, Domain = PrunedAttention.Domain };
        node.Input.Add([_node.Input[0], _node.Input[1], _node.Input[2], KvPruneOps.SequenceHandlesInput]);
        node.Input.Add([_node.Input[TotalSequenceLength], _node.Input[SeqlensK]]);
        if (Rotary)
            node.Input.Add([_node.Input[CosCache], _node.Input[SinCache]]);
        node.Output.Add(_node.Output[0]);
        node.Attribute.Add(PrunedAttention.Int("num_heads", QueryHeads));
        node.Attribute.Add(PrunedAttention.Int("kv_num_heads", KvHeads));
        node.Attribute.Add(new AttributeProto { Name = "scale", F = Scale, Type = AttributeProto.Types.AttributeType.Float });
        node.Attribute.Add(PrunedAttention.Int("do_rotary", Rotary ? 1 : 0));
        node.Attribute.Add(PrunedAttention.Int("layer", layer));
        return node;
    }

    private ModelRewriteException Refused(string reason) => new($"{Label} cannot be translated: {reason}.");

    private void RequireInputs()
    {
        if (_node.InputAt(0).Length == 0)
            throw Refused("it has no query");
        if (_node.InputAt(1).Length == 0 || _node.InputAt(2).Length == 0)
            throw Refused("query, key and value are packed into one input");
        if (_node.InputAt(SeqlensK).Length == 0 || _node.InputAt(TotalSequenceLength).Length == 0)
            throw Refused("its input seqlens_k or total_sequence_length is missing");
        for (var i = SinCache + 1; i < _node.Input.Count; i++)
        {
            if (_node.Input[i].Length == 0)
                continue;
            var known = i - SinCache - 1 < Untranslated.Length ? Untranslated[i - SinCache - 1] : $"number {i}";
            throw Refused($"its input {known} ('{_node.Input[i]}') has no counterpart");
        }
    }

    // The graph input behind past_key or past_value.
    private string FindPast(GraphIndex index, int input, string role)
    {
        var source = _node.InputAt(input);
        if (source.Length == 0)
            throw Refused($"its input {role} is missing, so it keeps no cache");
        var chain = index.BackThroughCasts(source).ToList();
        if (!index.Inputs.Contains(chain[^1]))
            throw Refused($"its {role} '{source}' does not come from an input of the graph");
        return chain[^1];
    }

    private int CheckShapes(GraphIndex index)
    {
        int? headSize = null;
        foreach (var (past, operand) in PastInputs.Zip([_node.Input[PastKey], _node.Input[PastValue]]))
        {
            var type = index.TensorType(past) ?? throw Refused($"graph input '{past}' declares no tensor type");
            var element = index.Producer(operand) is { } cast && cast.IsStandard("Cast")
                ? new AttributeReader(cast).Int("to", 0)
                : type.ElemType;
            if (element != (int)TensorProto.Types.DataType.Float)
                throw Refused($"'{operand}' has element type {DataTypeName(element)}; only float32 is supported");
            var dims = type.Shape?.Dim;
            if (dims is not { Count: 4 } || dims[3].DimValue is <= 0 or > int.MaxValue)
                throw Refused($"graph input '{past}' does not declare its shape as [batch, kv_num_heads, past, head_size]");
            if (dims[1].DimValue != KvHeads)
                throw Refused($"graph input '{past}' declares {Describe(dims[1])} KV heads, the node has {KvHeads}");
            headSize ??= (int)dims[3].DimValue;
            if (dims[3].DimValue != headSize)
                throw Refused($"past_key has {headSize} channels a head and past_value {dims[3].DimValue}");
        }

        CheckWidth(index, 0, "query", QueryHeads * (long)headSize!.Value);
        CheckWidth(index, 1, "key", KvHeads * (long)headSize.Value);
        CheckWidth(index, 2, "value", KvHeads * (long)headSize.Value);
        return headSize.Value;
    }

    private void CheckWidth(GraphIndex index, int input, string role, long width)
    {
        var dims = index.TensorType(_node.Input[input])?.Shape?.Dim;
        if (dims is { Count: 3 } && dims[2].DimValue > 0 && dims[2].DimValue != width)
            throw Refused($"its {role} is {dims[2].DimValue} wide, heads and channels make {width}");
    }

    private static string Describe(TensorShapeProto.Types.Dimension dim) =>
        dim.HasDimValue ? dim.DimValue.ToString(CultureInfo.InvariantCulture) : "no fixed number of";

    private static string DataTypeName(long type) =>
        Enum.IsDefined((TensorProto.Types.DataType)type) ? ((TensorProto.Types.DataType)type).ToString() : $"number {type}";

    [GeneratedRegex(@"(?<=\.)[0-9]+(?=\.|$)")]
    private static partial Regex LayerNumber();
}
