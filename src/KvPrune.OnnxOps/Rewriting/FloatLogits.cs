using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>Casts a float16 graph's logits to float32, so that hosts need to know one type only.</summary>
internal static class FloatLogits
{
    /// <summary>Rewrites <paramref name="logits"/>, an output of the model, where it is float16.</summary>
    public static void Apply(ModelProto model, ValueInfoProto logits)
    {
        if (logits.Type?.TensorType is not { ElemType: (int)DataType.Float16 } type)
            return;
        var graph = model.Graph;
        var index = new GraphIndex(graph);
        var producer = index.Producer(logits.Name)
            ?? throw new ModelRewriteException($"No node makes output '{logits.Name}'.");
        var writer = new NodeWriter(model);
        var half = writer.Fresh("kvprune/half_logits");
        foreach (var reader in index.Readers(logits.Name))
            reader.ReplaceReads(logits.Name, half);
        producer.Output[producer.Output.IndexOf(logits.Name)] = half;
        writer.NodeTo(logits.Name, "Cast", [half], NodeAttribute.Int("to", (long)DataType.Float));
        graph.Node.Insert(graph.Node.IndexOf(producer) + 1, writer.Nodes[0]);
        type.ElemType = (int)DataType.Float;
        // What else says that they are float16.
        foreach (var value in graph.ValueInfo.Where(value => value.Name == logits.Name).ToList())
            graph.ValueInfo.Remove(value);
    }
}
