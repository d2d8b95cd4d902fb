using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>
/// Casts what an If chooses among constants, as graphs of two rotary caches do: inside the branches, where ONNX Runtime
/// does it once, when it loads the graph, and not at every run.
/// </summary>
internal static class BranchConstants
{
    /// <summary>
    /// The name of the value as float32, which it then has in place of its own; null where no If with a constant in every
    /// branch makes it, or others than attention nodes read it.
    /// </summary>
    public static string? Cast(GraphIndex index, string value, NodeWriter writer)
    {
        if (index.Producer(value) is not { } node || !node.IsStandard("If") || index.Outputs.Contains(value)
            || !index.Readers(value).All(AttentionNode.IsKnown))
        {
            return null;
        }

        var at = node.Output.IndexOf(value);
        var branches = node.Subgraphs().ToList();
        if (!branches.TrueForAll(branch => at < branch.Output.Count && IsConstant(branch, branch.Output[at].Name, index)))
            return null;

        foreach (var branch in branches)
        {
            var output = branch.Output[at];
            var cast = new NodeProto { Name = writer.Fresh("kvprune/Cast"), OpType = "Cast", Input = { output.Name } };
            cast.Attribute.Add(NodeAttribute.Int("to", (long)DataType.Float));
            output.Name = writer.Fresh("kvprune/value");
            cast.Output.Add(output.Name);
            if (output.Type?.TensorType is { } type)
                type.ElemType = (int)DataType.Float;
            branch.Node.Add(cast);
        }

        return node.Output[at] = writer.Fresh("kvprune/value");
    }

    private static bool IsConstant(GraphProto branch, string value, GraphIndex outer)
    {
        var inner = new GraphIndex(branch);
        var origin = inner.BackThroughCasts(value).Last();
        return inner.Initializer(origin) is not null || outer.Initializer(origin) is not null
            || inner.Producer(origin)?.IsStandard("Constant") == true;
    }
}
