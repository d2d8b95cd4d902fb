using KvPrune.OnnxOps.Onnx;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>Who makes and who reads each value of a graph, as it was when the index was built.</summary>
internal sealed class GraphIndex
{
    private readonly Dictionary<string, NodeProto> _producers = [];
    private readonly ILookup<string, NodeProto> _readers;
    private readonly Dictionary<string, TypeProto?> _types = [];
    private readonly Dictionary<string, TensorProto> _initializers = [];

    public GraphIndex(GraphProto graph)
    {
        foreach (var node in graph.Node)
        {
            foreach (var output in node.Output.Where(o => o.Length > 0))
                _producers[output] = node;
        }

        _readers = graph.Node
            .SelectMany(node => node.Reads().Distinct().Select(name => (name, node)))
            .ToLookup(read => read.name, read => read.node);
        foreach (var value in graph.ValueInfo.Concat(graph.Output).Concat(graph.Input))
            _types[value.Name] = value.Type;
        foreach (var tensor in graph.Initializer)
            _initializers.TryAdd(tensor.Name, tensor);
        Inputs = graph.Input.Select(i => i.Name).ToHashSet();
        Outputs = graph.Output.Select(o => o.Name).ToHashSet();
    }

    public IReadOnlySet<string> Inputs { get; }

    public IReadOnlySet<string> Outputs { get; }

    public NodeProto? Producer(string value) => _producers.GetValueOrDefault(value);

    public IEnumerable<NodeProto> Readers(string value) => _readers[value];

    public TensorProto? Initializer(string value) => _initializers.GetValueOrDefault(value);

    /// <summary>The declared tensor type of a value; null where the graph declares none.</summary>
    public TypeProto.Types.Tensor? TensorType(string value) => _types.GetValueOrDefault(value)?.TensorType;

    /// <summary>The values from <paramref name="value"/> back through Cast and Identity nodes, itself first.</summary>
    public IEnumerable<string> BackThroughCasts(string value)
    {
        var seen = new HashSet<string>();
        while (value.Length > 0 && seen.Add(value))
        {
            yield return value;
            value = Producer(value) is { } node && IsCast(node) ? node.InputAt(0) : "";
        }
    }

    /// <summary>The values that Cast and Identity nodes make from <paramref name="value"/>, itself included.</summary>
    public IReadOnlySet<string> ForwardThroughCasts(string value)
    {
        var reached = new HashSet<string> { value };
        var open = new Queue<string>(reached);
        while (open.TryDequeue(out var next))
        {
            foreach (var output in Readers(next).Where(IsCast).Select(node => node.OutputAt(0)))
            {
                if (output.Length > 0 && reached.Add(output))
                    open.Enqueue(output);
            }
        }

        return reached;
    }

    public static bool IsCast(NodeProto node) => node.IsStandard("Cast") || node.IsStandard("Identity");
}
