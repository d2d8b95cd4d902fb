using KvPrune.OnnxOps.Onnx;

namespace KvPrune.OnnxOps.Rewriting;

internal static class NodeExtensions
{
    /// <summary>How messages name a node: by its name, or by its first output where it has none.</summary>
    public static string Label(this NodeProto node) =>
        node.Name.Length > 0 ? $"node '{node.Name}' ({node.OpType})"
        : node.Output.Count > 0 ? $"the node that makes '{node.Output[0]}' ({node.OpType})"
        : $"a node without name and output ({node.OpType})";

    /// <summary>Input <paramref name="index"/>, empty where the node leaves it out.</summary>
    public static string InputAt(this NodeProto node, int index) =>
        index < node.Input.Count ? node.Input[index] : "";

    /// <summary>Output <paramref name="index"/>, empty where the node leaves it out.</summary>
    public static string OutputAt(this NodeProto node, int index) =>
        index < node.Output.Count ? node.Output[index] : "";

    public static bool IsStandard(this NodeProto node, string opType) =>
        node.OpType == opType && node.Domain is ("" or "ai.onnx");

    /// <summary>The graphs that the node's attributes hold (bodies of If, Loop and Scan).</summary>
    public static IEnumerable<GraphProto> Subgraphs(this NodeProto node) =>
        node.Attribute.Where(a => a.G is not null).Select(a => a.G).Concat(node.Attribute.SelectMany(a => a.Graphs));

    /// <summary>Makes the node, its subgraphs included, read another value.</summary>
    public static void ReplaceReads(this NodeProto node, string from, string to)
    {
        for (var i = 0; i < node.Input.Count; i++)
        {
            if (node.Input[i] == from)
                node.Input[i] = to;
        }

        foreach (var inner in node.Subgraphs().SelectMany(graph => graph.Node))
            inner.ReplaceReads(from, to);
    }

    /// <summary>Every value that the node may read: its inputs, and what its subgraphs name.</summary>
    public static IEnumerable<string> Reads(this NodeProto node) =>
        node.Input.Where(input => input.Length > 0).Concat(
            node.Subgraphs().SelectMany(graph => graph.Node.SelectMany(Reads).Concat(graph.Output.Select(o => o.Name))));
}
