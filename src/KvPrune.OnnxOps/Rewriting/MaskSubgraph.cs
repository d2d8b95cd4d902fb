using System.Runtime.InteropServices;
using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>The part of a graph that makes one value from the elements of one input and from the shapes of others.</summary>
internal sealed class MaskSubgraph
{
    // Floats from here on are what masks add, not counts of tokens.
    private const double LeastMasking = 1e4;

    // Ends of slices that stand for "all": no tensor and no sequence is that long.
    private const double Endless = 1L << 48;

    private readonly ModelProto _model;
    private readonly GraphIndex _index;
    private readonly HashSet<string> _inputs = [];
    private readonly GraphProto _part = new() { Name = "mask" };

    private MaskSubgraph(ModelProto model, GraphIndex index, string value)
    {
        (_model, _index, Value) = (model, index, value);
        Mask = Collect();
        foreach (var input in _inputs)
            _part.Input.Add(new ValueInfoProto { Name = input, Type = new TypeProto { TensorType = InputType(input) } });
        LargestNumber = _part.Initializer.Concat(_part.Node.SelectMany(Tensors)).SelectMany(Numbers)
            .Concat(_part.Node.SelectMany(node => node.Attribute).SelectMany(a => a.Ints.Append(a.I)).Select(i => (double)i))
            .Select(Math.Abs).Where(number => number < Endless && number != int.MaxValue).DefaultIfEmpty().Max();
    }

    /// <summary>The value's name.</summary>
    public string Value { get; }

    /// <summary>The input whose elements are read.</summary>
    public string Mask { get; }

    /// <summary>
    /// The largest magnitude among the integers, and the floats that can be integers, that the part has: a window or
    /// another border within it is no longer than that, unless it computes one.
    /// </summary>
    public double LargestNumber { get; }

    /// <summary>Finds what makes <paramref name="value"/>.</summary>
    /// <exception cref="ModelRewriteException">It cannot be run by itself; says why.</exception>
    public static MaskSubgraph Extract(ModelProto model, GraphIndex index, string value) => new(model, index, value);

    /// <summary>A model of the part alone.</summary>
    /// <param name="withIntermediates">Whether it gives every value on the way, too.</param>
    public ModelProto ToModel(bool withIntermediates)
    {
        var single = new ModelProto { IrVersion = _model.IrVersion, Graph = _part.Clone() };
        single.OpsetImport.Add(_model.OpsetImport);
        var made = withIntermediates ? _part.Node.SelectMany(node => node.Output).Where(name => name.Length > 0) : [];
        // ONNX Runtime finds the types.
        foreach (var name in made.Append(Value).Distinct())
            single.Graph.Output.Add(new ValueInfoProto { Name = name });
        return single;
    }

    private string Collect()
    {
        var nodes = new HashSet<NodeProto>(ReferenceEqualityComparer.Instance);
        var elements = new HashSet<string>();
        var open = new Stack<string>([Value]);
        var seen = new HashSet<string>();
        while (open.TryPop(out var value))
        {
            if (!seen.Add(value))
                continue;
            if (_index.Initializer(value) is { } tensor)
            {
                RequireInside(tensor, value);
                _part.Initializer.Add(tensor);
            }
            else if (_index.Inputs.Contains(value))
            {
                _inputs.Add(value);
            }
            else if (_index.Producer(value) is { } node)
            {
                if (node.Subgraphs().Any())
                    throw new ModelRewriteException($"it depends on {node.Label()}");
                foreach (var inner in Tensors(node))
                    RequireInside(inner, value);
                nodes.Add(node);
                foreach (var read in node.Input.Where(input => input.Length > 0))
                {
                    open.Push(read);
                    if (_index.Inputs.Contains(read) && _index.Initializer(read) is null && !node.IsStandard("Shape"))
                        elements.Add(read);
                }
            }
            else
            {
                throw new ModelRewriteException($"nothing makes '{value}'");
            }
        }

        if (elements.Count != 1)
            throw new ModelRewriteException($"it reads the elements of {elements.Count} inputs of the graph, not of one");
        _part.Node.Add(_model.Graph.Node.Where(nodes.Contains));
        return elements.Single();
    }

    private TypeProto.Types.Tensor InputType(string input)
    {
        if (_index.TensorType(input) is not { Shape: not null } type)
            throw new ModelRewriteException($"input '{input}' declares no shape");
        var isIds = type.Shape.Dim.Count == 2 && type.ElemType == (int)DataType.Int64;
        var isPast = type.Shape.Dim.Count == 4 && type.Shape.Dim[1].DimValue > 0 && type.Shape.Dim[3].DimValue > 0;
        if (!isIds && !isPast)
            throw new ModelRewriteException($"input '{input}' is neither int64 [batch, tokens] nor a cache [batch, heads, past, channels]");
        // Elements of a cache are not read, so they may be of one type.
        var shape = new TensorShapeProto();
        shape.Dim.Add(type.Shape.Dim.Select((dim, i) => isPast && i == 1 ? dim : new() { DimParam = $"{input}/{i}" }));
        return new() { ElemType = (int)(isIds ? DataType.Int64 : DataType.Float), Shape = shape };
    }

    private static void RequireInside(TensorProto tensor, string value)
    {
        if (tensor.DataLocation == DataLocation.External)
            throw new ModelRewriteException($"it depends on the external tensor '{value}'");
    }

    private static IEnumerable<TensorProto> Tensors(NodeProto node) =>
        node.Attribute.Where(a => a.T is not null).Select(a => a.T).Concat(node.Attribute.SelectMany(a => a.Tensors));

    private static IEnumerable<double> Numbers(TensorProto tensor)
    {
        var raw = tensor.RawData.ToByteArray();
        return (DataType)tensor.DataType switch
        {
            DataType.Int64 => tensor.Int64Data.Concat(MemoryMarshal.Cast<byte, long>(raw).ToArray()).Select(i => (double)i),
            DataType.Int32 => tensor.Int32Data.Concat(MemoryMarshal.Cast<byte, int>(raw).ToArray()).Select(i => (double)i),
            DataType.Int8 => tensor.Int32Data.Concat(raw.Select(i => (int)(sbyte)i)).Select(i => (double)i),
            DataType.Uint8 => tensor.Int32Data.Concat(raw.Select(i => (int)i)).Select(i => (double)i),
            DataType.Float => Counts(tensor.FloatData.Concat(MemoryMarshal.Cast<byte, float>(raw).ToArray()).Select(x => (double)x)),
            DataType.Float16 => Counts(
                tensor.Int32Data.Select(bits => BitConverter.UInt16BitsToHalf((ushort)bits))
                    .Concat(MemoryMarshal.Cast<byte, Half>(raw).ToArray()).Select(x => (double)x)),
            _ => [],
        };
    }

    private static IEnumerable<double> Counts(IEnumerable<double> values) =>
        values.Where(x => Math.Abs(x) < LeastMasking).Select(x => Math.Ceiling(Math.Abs(x)));
}
