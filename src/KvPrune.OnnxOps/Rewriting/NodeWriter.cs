using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>Makes nodes and initializers for a graph, under names that it does not use yet.</summary>
internal sealed class NodeWriter
{
    private readonly GraphProto _graph;
    private readonly NamePool _names;
    private readonly long _opset;
    private readonly Dictionary<string, string> _shared = [];

    public NodeWriter(ModelProto model)
    {
        _graph = model.Graph;
        _names = new NamePool(model.Graph);
        _opset = Opset(model);
    }

    /// <summary>The nodes made so far, in an order that can run; the caller puts them into the graph.</summary>
    public List<NodeProto> Nodes { get; } = [];

    /// <summary>The version of the standard operators that the model uses.</summary>
    public static long Opset(ModelProto model) =>
        model.OpsetImport.FirstOrDefault(import => import.Domain is "" or "ai.onnx")?.Version ?? 0;

    public string Fresh(string wish) => _names.Fresh(wish);

    /// <summary>The value that was first made under this key, so that nodes can share it.</summary>
    public string Shared(string key, Func<string> make) =>
        _shared.TryGetValue(key, out var value) ? value : _shared[key] = make();

    /// <summary>A node of the default domain with one output, whose name it returns.</summary>
    public string Node(string opType, string[] inputs, params AttributeProto[] attributes) =>
        NodeTo(Fresh("kvprune/value"), opType, inputs, attributes);

    /// <summary>The same with an output that has its name already.</summary>
    public string NodeTo(string output, string opType, string[] inputs, params AttributeProto[] attributes) =>
        Add(opType, inputs, [output], attributes)[0];

    public string Cast(string value, DataType to) => Node("Cast", [value], NodeAttribute.Int("to", (long)to));

    public string Reshape(string value, params long[] shape) => Node("Reshape", [value, Int64([shape.Length], shape)]);

    /// <summary>Parts of the given sizes along <paramref name="axis"/>.</summary>
    public string[] Split(string value, int axis, params long[] sizes)
    {
        string[] outputs = [.. sizes.Select(_ => Fresh("kvprune/value"))];
        // The sizes became an input in version 13.
        return _opset >= 13
            ? Add("Split", [value, Int64([sizes.Length], sizes)], outputs, NodeAttribute.Int("axis", axis))
            : Add("Split", [value], outputs, NodeAttribute.Int("axis", axis), NodeAttribute.Ints("split", sizes));
    }

    /// <summary>Sums over <paramref name="axis"/>, which goes away.</summary>
    public string ReduceSum(string value, int axis)
    {
        var keep = NodeAttribute.Int("keepdims", 0);
        // The axes became an input in version 13.
        return _opset >= 13
            ? Node("ReduceSum", [value, Int64([1], axis)], keep)
            : Node("ReduceSum", [value], keep, NodeAttribute.Ints("axes", axis));
    }

    public string Int64(long[] dims, params long[] values)
    {
        var tensor = new TensorProto { Name = Fresh("kvprune/constant"), DataType = (int)DataType.Int64 };
        tensor.Dims.Add(dims);
        tensor.Int64Data.Add(values);
        _graph.Initializer.Add(tensor);
        return tensor.Name;
    }

    private string[] Add(string opType, string[] inputs, string[] outputs, params AttributeProto[] attributes)
    {
        var node = new NodeProto { Name = Fresh($"kvprune/{opType}"), OpType = opType };
        node.Input.Add(inputs);
        node.Output.Add(outputs);
        node.Attribute.Add(attributes);
        Nodes.Add(node);
        return outputs;
    }
}
