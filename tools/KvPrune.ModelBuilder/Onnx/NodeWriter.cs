using System.Globalization;
using System.Runtime.InteropServices;
using KvPrune.OnnxOps.Onnx;
using DataType = KvPrune.OnnxOps.Onnx.TensorProto.Types.DataType;

namespace KvPrune.ModelBuilder.Onnx;

/// <summary>The nodes that every part of a decoder is made of, named as GenAI's model builder names them.</summary>
internal sealed class NodeWriter(GraphBuilder graph, TensorWriter tensors, ModelShape shape, BuildOptions options)
{
    private readonly HashSet<string> _constants = [];

    public GraphBuilder Graph => graph;

    public TensorWriter Tensors => tensors;

    public ModelShape Shape => shape;

    public BuildOptions Options => options;

    /// <summary>The type of activations, logits and past.</summary>
    public DataType Float => options.HalfActivations ? DataType.Float16 : DataType.Float;

    public static Dimension[] Activation(int width) => ["batch_size", "sequence_length", width];

    /// <summary>The initializer of a node's weight.</summary>
    public static string WeightName(string node, string kind = "weight") => $"{node[1..].Replace('/', '.')}.{kind}";

    /// <summary>A constant vector of whole numbers.</summary>
    public string Vector(params ReadOnlySpan<long> values) =>
        Constant($"INT64/[{string.Join(", ", values.ToArray())}]", DataType.Int64, MemoryMarshal.AsBytes(values), values.Length);

    /// <summary>A constant whole number without dimensions.</summary>
    public string Whole(long value) => Constant(FormattableString.Invariant($"INT64/{value}"), DataType.Int64, MemoryMarshal.AsBytes([value]));

    /// <summary>A constant of the activations' type without dimensions.</summary>
    public string Number(double value) => Constant(
        $"{(Float == DataType.Float ? "FLOAT" : "FLOAT16")}/{value.ToString(CultureInfo.InvariantCulture)}",
        Float,
        tensors.Encode([(float)value], Float, null));

    public string Node(
        string opType, string name, string[] inputs, DataType type, Dimension[] dimensions, params ReadOnlySpan<(string Name, object Value)> attributes) =>
        Node("", opType, name, inputs, type, dimensions, attributes);

    public string Contributed(
        string opType, string name, string[] inputs, DataType type, Dimension[] dimensions, params ReadOnlySpan<(string Name, object Value)> attributes) =>
        Node(GraphBuilder.MicrosoftDomain, opType, name, inputs, type, dimensions, attributes);

    /// <summary>A product with the transposed rows [out, in]; <paramref name="output"/> only for an output of the graph.</summary>
    public string MatMul(string name, string input, TensorRows[] rows, string? output = null)
    {
        var (height, width) = (rows.Sum(r => r.Count), rows[0].Columns);
        output ??= $"{name}/output_0";
        if (output[0] == '/')
            graph.Value(output, Float, Activation(height));
        if (!options.IsInt4)
        {
            graph.Initializer(tensors.Transposed(WeightName(name), Float, rows));
            graph.Node("MatMul", name, [input, WeightName(name)], [output]);
            return output;
        }

        var (packed, scales) = tensors.Quantized(
            WeightName(name, "weight_Q4"), WeightName(name, "weight_scales"), Float, rows, options.BlockSize);
        graph.Initializer(packed);
        graph.Initializer(scales);
        graph.Node(
            "MatMulNBits",
            $"{name}_Q4",
            [input, packed.Name, scales.Name],
            [output],
            GraphBuilder.MicrosoftDomain,
            // Level 4, GenAI's choice for CPU: activations are rounded to int8 per block. 0 for CUDA: the provider's choice.
            ("accuracy_level", options.HalfActivations ? 0 : 4), ("bits", 4), ("block_size", options.BlockSize), ("K", width), ("N", height));
        return output;
    }

    public string AddBias(string name, string input, TensorRows[] rows)
    {
        graph.Initializer(tensors.AsIs(WeightName(name, "bias"), Float, rows));
        return Node("Add", name, [input, WeightName(name, "bias")], Float, Activation(rows.Sum(r => r.Count)));
    }

    public string Cast(string name, string input, DataType type, params Dimension[] dimensions) =>
        Node("Cast", name, [input], type, dimensions, ("to", (int)type));

    private string Node(
        string domain, string opType, string name, string[] inputs, DataType type, Dimension[] dimensions, ReadOnlySpan<(string, object)> attributes)
    {
        var output = $"{name}/output_0";
        graph.Node(opType, name, inputs, [output], domain, attributes);
        graph.Value(output, type, dimensions);
        return output;
    }

    private string Constant(string suffix, DataType type, ReadOnlySpan<byte> bytes, params ReadOnlySpan<long> dimensions)
    {
        var name = $"/model/constants/{suffix}";
        if (_constants.Add(name))
            graph.Initializer(GraphBuilder.Tensor(name, type, bytes, dimensions));
        return name;
    }
}
