using Google.Protobuf;
using KvPrune.OnnxOps.Onnx;
using AttributeType = KvPrune.OnnxOps.Onnx.AttributeProto.Types.AttributeType;
using DataType = KvPrune.OnnxOps.Onnx.TensorProto.Types.DataType;

namespace KvPrune.ModelBuilder.Onnx;

/// <summary>Collects the nodes, values and initializers of one ONNX graph.</summary>
internal sealed class GraphBuilder(string name = "main_graph")
{
    public const string MicrosoftDomain = "com.microsoft";

    private readonly GraphProto _graph = new() { Name = name };

    public void Input(string name, DataType type, params ReadOnlySpan<Dimension> shape) => _graph.Input.Add(Describe(name, type, shape));

    public void Output(string name, DataType type, params ReadOnlySpan<Dimension> shape) => _graph.Output.Add(Describe(name, type, shape));

    /// <summary>States type and shape of a value inside the graph.</summary>
    public void Value(string name, DataType type, params ReadOnlySpan<Dimension> shape) =>
        _graph.ValueInfo.Add(Describe(name, type, shape));

    public void Initializer(TensorProto tensor) => _graph.Initializer.Add(tensor);

    /// <summary>Adds a node; an attribute value is an int, a float, ints, a text, a tensor or a graph.</summary>
    public void Node(
        string opType,
        string name,
        string[] inputs,
        string[] outputs,
        string domain = "",
        params ReadOnlySpan<(string Name, object Value)> attributes)
    {
        var node = new NodeProto { OpType = opType, Name = name };
        if (domain.Length > 0)
            node.Domain = domain;
        node.Input.AddRange(inputs);
        node.Output.AddRange(outputs);
        foreach (var (attribute, value) in attributes)
        {
            node.Attribute.Add(value switch
            {
                int number => new AttributeProto { Name = attribute, Type = AttributeType.Int, I = number },
                float number => new AttributeProto { Name = attribute, Type = AttributeType.Float, F = number },
                int[] numbers => new AttributeProto { Name = attribute, Type = AttributeType.Ints, Ints = { numbers.Select(n => (long)n) } },
                string text => new AttributeProto { Name = attribute, Type = AttributeType.String, S = ByteString.CopyFromUtf8(text) },
                TensorProto tensor => new AttributeProto { Name = attribute, Type = AttributeType.Tensor, T = tensor },
                GraphBuilder graph => new AttributeProto { Name = attribute, Type = AttributeType.Graph, G = graph._graph },
                _ => throw new ArgumentException($"Attribute {attribute} of {name} has the unsupported type {value.GetType()}."),
            });
        }

        _graph.Node.Add(node);
    }

    /// <summary>A tensor that is kept inside the graph file; a scalar when the shape is empty.</summary>
    public static TensorProto Tensor(string name, DataType type, ReadOnlySpan<byte> values, params ReadOnlySpan<long> shape)
    {
        var tensor = new TensorProto { Name = name, DataType = (int)type, RawData = ByteString.CopyFrom(values) };
        foreach (var dimension in shape)
            tensor.Dims.Add(dimension);
        return tensor;
    }

    /// <summary>Writes the model; IR version and opset are the ones that GenAI's builder uses.</summary>
    public void Save(string path)
    {
        var model = new ModelProto
        {
            IrVersion = 10,
            ProducerName = "KvPrune.ModelBuilder",
            Graph = _graph,
            OpsetImport =
            {
                new OperatorSetIdProto { Domain = "", Version = 21 },
                new OperatorSetIdProto { Domain = MicrosoftDomain, Version = 1 },
            },
        };
        using var stream = File.Create(path);
        model.WriteTo(stream);
    }

    private static ValueInfoProto Describe(string name, DataType type, ReadOnlySpan<Dimension> shape)
    {
        var dimensions = new TensorShapeProto();
        foreach (var dimension in shape)
        {
            dimensions.Dim.Add(dimension.Name is null
                ? new TensorShapeProto.Types.Dimension { DimValue = dimension.Value }
                : new TensorShapeProto.Types.Dimension { DimParam = dimension.Name });
        }

        return new ValueInfoProto
        {
            Name = name,
            Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)type, Shape = dimensions } },
        };
    }
}
