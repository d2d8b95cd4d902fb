using System.Runtime.InteropServices;
using Google.Protobuf;
using KvPrune.OnnxOps.Onnx;
using AttributeType = KvPrune.OnnxOps.Onnx.AttributeProto.Types.AttributeType;
using DataType = KvPrune.OnnxOps.Onnx.TensorProto.Types.DataType;

namespace KvPrune.ModelBuilder.Onnx;

/// <summary>Collects the nodes, values and initializers of one ONNX graph.</summary>
internal sealed class GraphBuilder
{
    public const string MicrosoftDomain = "com.microsoft";

    private readonly GraphProto _graph = new() { Name = "main_graph" };

    public void Input(string name, DataType type, params ReadOnlySpan<Dimension> shape) => _graph.Input.Add(Describe(name, type, shape));

    public void Output(string name, DataType type, params ReadOnlySpan<Dimension> shape) => _graph.Output.Add(Describe(name, type, shape));

    /// <summary>States type and shape of a value inside the graph.</summary>
    public void Value(string name, DataType type, params ReadOnlySpan<Dimension> shape) =>
        _graph.ValueInfo.Add(Describe(name, type, shape));

    public void Initializer(TensorProto tensor) => _graph.Initializer.Add(tensor);

    /// <summary>Adds a small int64 constant inside the graph file; a scalar when the shape is empty. Returns its name.</summary>
    public void Constant(string name, ReadOnlySpan<long> values, params ReadOnlySpan<long> shape)
    {
        var tensor = new TensorProto
        {
            Name = name,
            DataType = (int)DataType.Int64,
            RawData = ByteString.CopyFrom(MemoryMarshal.AsBytes(values)),
        };
        foreach (var dimension in shape)
            tensor.Dims.Add(dimension);
        _graph.Initializer.Add(tensor);
    }

    /// <summary>Adds a node; an attribute value is an int or a float.</summary>
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
                _ => throw new ArgumentException($"Attribute {attribute} of {name} has the unsupported type {value.GetType()}."),
            });
        }

        _graph.Node.Add(node);
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
