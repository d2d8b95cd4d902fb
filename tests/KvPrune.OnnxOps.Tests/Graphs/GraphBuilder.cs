using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.AttributeProto.Types;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Tests.Graphs;

/// <summary>Writes ONNX graphs by hand.</summary>
internal sealed class GraphBuilder
{
    public GraphBuilder()
    {
        Model = new ModelProto { IrVersion = 10, ProducerName = "tests", Graph = new GraphProto { Name = "graph" } };
        Model.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = 21 });
        Model.OpsetImport.Add(new OperatorSetIdProto { Domain = "com.microsoft", Version = 1 });
    }

    /// <summary>Goes on with a graph.</summary>
    public GraphBuilder(ModelProto model) => Model = model;

    public ModelProto Model { get; }

    /// <summary>Dimensions are numbers or names.</summary>
    public static ValueInfoProto Value(string name, DataType type, params object[] dims)
    {
        var shape = new TensorShapeProto();
        foreach (var dim in dims)
        {
            shape.Dim.Add(dim is string parameter
                ? new TensorShapeProto.Types.Dimension { DimParam = parameter }
                : new TensorShapeProto.Types.Dimension { DimValue = Convert.ToInt64(dim) });
        }

        var tensor = new TypeProto.Types.Tensor { ElemType = (int)type, Shape = shape };
        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = tensor } };
    }

    public static AttributeProto Attribute(string name, object value) => value switch
    {
        int or long => new() { Name = name, Type = AttributeType.Int, I = Convert.ToInt64(value) },
        float real => new() { Name = name, Type = AttributeType.Float, F = real },
        string text => new() { Name = name, Type = AttributeType.String, S = Google.Protobuf.ByteString.CopyFromUtf8(text) },
        GraphProto graph => new() { Name = name, Type = AttributeType.Graph, G = graph },
        _ => throw new ArgumentException("unknown attribute type", nameof(value)),
    };

    public string Input(string name, DataType type, params object[] dims)
    {
        Model.Graph.Input.Add(Value(name, type, dims));
        return name;
    }

    public void Output(string name, DataType type, params object[] dims) =>
        Model.Graph.Output.Add(Value(name, type, dims));

    public string Floats(string name, float[] values, params long[] dims)
    {
        var tensor = new TensorProto { Name = name, DataType = (int)DataType.Float };
        tensor.Dims.Add(dims);
        tensor.FloatData.Add(values);
        Model.Graph.Initializer.Add(tensor);
        return name;
    }

    /// <summary>Floats rounded to <paramref name="type"/>: float32 or float16.</summary>
    public string Values(string name, DataType type, float[] values, params long[] dims)
    {
        if (type == DataType.Float)
            return Floats(name, values, dims);
        var tensor = new TensorProto { Name = name, DataType = (int)type };
        tensor.Dims.Add(dims);
        // Bits, one value to an int32.
        tensor.Int32Data.Add(values.Select(value => (int)BitConverter.HalfToUInt16Bits((Half)value)));
        Model.Graph.Initializer.Add(tensor);
        return name;
    }

    public string Int64s(string name, long[] values, params long[] dims)
    {
        var tensor = new TensorProto { Name = name, DataType = (int)DataType.Int64 };
        tensor.Dims.Add(dims);
        tensor.Int64Data.Add(values);
        Model.Graph.Initializer.Add(tensor);
        return name;
    }

    /// <summary>A node of the default domain with one output, named after it.</summary>
    public string Node(string opType, string output, string[] inputs, params (string Name, object Value)[] attributes)
    {
        Node(opType, "", [output], inputs, attributes);
        return output;
    }

    public NodeProto Node(
        string opType, string domain, string[] outputs, string[] inputs, params (string Name, object Value)[] attributes)
    {
        var node = new NodeProto { Name = $"/{outputs[0]}/{opType}", OpType = opType, Domain = domain };
        node.Input.Add(inputs);
        node.Output.Add(outputs);
        node.Attribute.Add(attributes.Select(a => Attribute(a.Name, a.Value)));
        Model.Graph.Node.Add(node);
        return node;
    }
}
