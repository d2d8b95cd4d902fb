using System.Globalization;
using System.Text.RegularExpressions;
using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>An attention node with a cache of its own that can be translated, and what it says about the model.</summary>
internal abstract partial class AttentionNode(NodeProto node, GraphIndex index)
{
    // What the cache manager takes; GroupQueryAttention takes multiples of 8 only.
    private const int HeadSizeStep = 8, LargestHeadSize = 256;

    public int QueryHeads { get; protected init; }

    public int KvHeads { get; protected init; }

    public int HeadSize { get; private set; }

    /// <summary>The graph inputs that the node's past_key and past_value come from.</summary>
    public IReadOnlyList<string> PastInputs { get; private set; } = [];

    /// <summary>The N of past_key_values.N.key; null where the name carries no number.</summary>
    public int? LayerInName { get; private set; }

    /// <summary>present_key and present_value where the node makes them.</summary>
    public IEnumerable<string> PresentOutputs => node.Output.Skip(1).Where(output => output.Length > 0);

    public string Name => node.Name;

    public string Label => node.Label();

    /// <summary>The node as the graph has it.</summary>
    public NodeProto Source => node;

    protected GraphIndex Index => index;

    /// <summary>The element type of query, key, value and output.</summary>
    protected DataType Element { get; private set; }

    /// <summary>Whether <see cref="Read"/> knows the node's kind.</summary>
    public static bool IsKnown(NodeProto node) => node.OpType is GroupQueryNode.OpType or MultiHeadNode.OpType;

    /// <summary>Describes <paramref name="node"/>.</summary>
    /// <exception cref="ModelRewriteException">It uses something that the pruned operator does not have.</exception>
    public static AttentionNode Read(NodeProto node, GraphIndex index, CausalMasks masks) =>
        node.OpType == GroupQueryNode.OpType ? new GroupQueryNode(node, index) : new MultiHeadNode(node, index, masks);

    /// <summary>Makes the nodes that take this one's place.</summary>
    /// <returns>The value with each row's valid tokens less one, int32.</returns>
    public abstract string Translate(int layer, NodeWriter writer);

    protected ModelRewriteException Refused(string reason) => new($"{Label} cannot be translated: {reason}.");

    protected ModelRewriteException Refused(string reason, Exception inner) => new($"{Label} cannot be translated: {reason}.", inner);

    /// <summary>The operand at this position, empty where the node leaves it out.</summary>
    protected string Input(int operand) => node.InputAt(operand);

    protected void RefuseInput(int operand, string role)
    {
        if (Input(operand).Length > 0)
            throw Refused($"its input {role} ('{Input(operand)}') has no counterpart");
    }

    /// <summary>Reads what the cache's tensors say: heads, head size and element type.</summary>
    protected void ReadCache(int pastKey, int pastValue)
    {
        PastInputs = [FindPast(pastKey, "past_key"), FindPast(pastValue, "past_value")];
        CheckCache(PastInputs[0], node.Input[pastKey]);
        CheckCache(PastInputs[1], node.Input[pastValue]);
        LayerInName = LayerNumber().Match(PastInputs[0]) is { Success: true } match
            && int.TryParse(match.ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture, out var layer) ? layer : null;
    }

    protected void CheckWidth(int input, string role, long heads)
    {
        var dims = index.TensorType(node.Input[input])?.Shape?.Dim;
        if (dims is { Count: 3 } && dims[2].DimValue > 0 && dims[2].DimValue != heads * HeadSize)
            throw Refused($"its {role} is {dims[2].DimValue} wide, heads and channels make {heads * HeadSize}");
    }

    /// <summary>The value in float32, which is what the pruned operator computes in; empty stays empty.</summary>
    protected string Float32(NodeWriter writer, string value) =>
        value.Length == 0 || Element == DataType.Float ? value : writer.Cast(value, DataType.Float);

    /// <summary>Writes the pruned node and what turns its output into this node's.</summary>
    protected void Write(NodeWriter writer, int layer, string[] inputs, AttentionOptions options)
    {
        var output = Element == DataType.Float ? node.Output[0] : writer.Fresh("kvprune/attention");
        var pruned = new NodeProto { Name = node.Name, OpType = PrunedAttention.OpType, Domain = PrunedAttention.Domain };
        pruned.Input.Add(inputs);
        pruned.Output.Add(output);
        pruned.Attribute.Add(NodeAttribute.Int("num_heads", QueryHeads));
        pruned.Attribute.Add(NodeAttribute.Int("kv_num_heads", KvHeads));
        pruned.Attribute.Add(options.Attributes());
        pruned.Attribute.Add(NodeAttribute.Int("layer", layer));
        writer.Nodes.Add(pruned);
        if (output != node.Output[0])
            writer.NodeTo(node.Output[0], "Cast", [output], NodeAttribute.Int("to", (long)Element));
    }

    // The graph input behind past_key or past_value.
    private string FindPast(int input, string role)
    {
        var source = node.InputAt(input);
        if (source.Length == 0)
            throw Refused($"its input {role} is missing, so it keeps no cache");
        var origin = index.BackThroughCasts(source).Last();
        return index.Inputs.Contains(origin)
            ? origin
            : throw Refused($"its {role} '{source}' does not come from an input of the graph");
    }

    private void CheckCache(string past, string operand)
    {
        var type = index.TensorType(past) ?? throw Refused($"graph input '{past}' declares no tensor type");
        // What the node gets is what the last Cast before it makes.
        var cast = index.BackThroughCasts(operand).Select(index.Producer).FirstOrDefault(producer => producer?.IsStandard("Cast") == true);
        var element = cast is null ? (DataType)type.ElemType : (DataType)new AttributeReader(cast).Int("to", 0);
        // ONNX Runtime has no bfloat16 matrix products on CPUs, so such a graph could not run.
        if (element is not (DataType.Float or DataType.Float16))
            throw Refused($"'{operand}' has element type {TypeName(element)}; only float32 and float16 are supported");
        if (Element != DataType.Undefined && Element != element)
            throw Refused($"past_key has element type {Element} and past_value {element}");
        Element = element;
        var dims = type.Shape?.Dim;
        if (dims is not { Count: 4 } || dims[3].DimValue is <= 0 or > int.MaxValue)
            throw Refused($"graph input '{past}' does not declare its shape as [batch, kv_num_heads, past, head_size]");
        if (dims[1].DimValue != KvHeads)
            throw Refused($"graph input '{past}' declares {Describe(dims[1])} KV heads, the node has {KvHeads}");
        if (HeadSize != 0 && dims[3].DimValue != HeadSize)
            throw Refused($"past_key has {HeadSize} channels a head and past_value {dims[3].DimValue}");
        HeadSize = (int)dims[3].DimValue;
        if (HeadSize % HeadSizeStep != 0 || HeadSize > LargestHeadSize)
            throw Refused($"its heads have {HeadSize} channels; only multiples of {HeadSizeStep} up to {LargestHeadSize} are supported");
    }

    private static string Describe(TensorShapeProto.Types.Dimension dim) =>
        dim.HasDimValue ? dim.DimValue.ToString(CultureInfo.InvariantCulture) : "no fixed number of";

    private static string TypeName(DataType type) => Enum.IsDefined(type) ? $"{type}" : $"number {(int)type}";

    [GeneratedRegex(@"(?<=\.)[0-9]+(?=\.|$)")]
    private static partial Regex LayerNumber();
}
