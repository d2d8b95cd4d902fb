using Google.Protobuf.Collections;
using KvPrune.OnnxOps.Onnx;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>Takes out of a graph what no output depends on.</summary>
internal static class DeadCode
{
    /// <summary>
    /// Removes nodes and initializers that no graph output needs, inputs among <paramref name="onceRead"/> that nothing
    /// reads any more, and the descriptions of values that are gone.
    /// </summary>
    public static void Remove(GraphProto graph, IReadOnlySet<string> onceRead)
    {
        var index = new GraphIndex(graph);
        var needed = new HashSet<string>();
        var alive = new HashSet<NodeProto>(ReferenceEqualityComparer.Instance);
        var open = new Stack<string>(graph.Output.Select(output => output.Name));
        while (open.TryPop(out var value))
        {
            if (!needed.Add(value) || index.Producer(value) is not { } node || !alive.Add(node))
                continue;
            foreach (var read in node.Reads())
                open.Push(read);
        }

        Keep(graph.Node, alive.Contains);
        Keep(graph.Initializer, tensor => needed.Contains(tensor.Name));
        Keep(graph.Input, input => needed.Contains(input.Name) || !onceRead.Contains(input.Name));
        var made = graph.Node.SelectMany(node => node.Output).ToHashSet();
        Keep(graph.ValueInfo, value => made.Contains(value.Name));
    }

    private static void Keep<T>(RepeatedField<T> items, Func<T, bool> wanted)
    {
        var kept = items.Where(wanted).ToList();
        items.Clear();
        items.AddRange(kept);
    }
}
