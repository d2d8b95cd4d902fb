using System.Globalization;
using KvPrune.OnnxOps.Onnx;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>Names for new nodes and values that a graph does not use yet.</summary>
internal sealed class NamePool
{
    private readonly HashSet<string> _taken = [];

    public NamePool(GraphProto graph) => Take(graph);

    public string Fresh(string wish)
    {
        var name = wish;
        for (var i = 1; !_taken.Add(name); i++)
            name = wish + "_" + i.ToString(CultureInfo.InvariantCulture);
        return name;
    }

    private void Take(GraphProto graph)
    {
        _taken.UnionWith(graph.Input.Concat(graph.Output).Select(value => value.Name));
        _taken.UnionWith(graph.Initializer.Select(tensor => tensor.Name));
        foreach (var node in graph.Node)
        {
            _taken.Add(node.Name);
            _taken.UnionWith(node.Input);
            _taken.UnionWith(node.Output);
            foreach (var subgraph in node.Subgraphs())
                Take(subgraph);
        }
    }
}
