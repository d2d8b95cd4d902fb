using KvPrune.OnnxOps.Onnx;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>
/// Cuts a graph's logits down to one position a row: index min(seqlens_k[i], S − 1), which is the last valid token of a
/// right-padded prompt and the last token of every later run.
/// </summary>
internal static class LastPositionLogits
{
    // GatherND has batch_dims, and Min takes int64, from this version on.
    private const long LeastOpset = 12;

    /// <summary>Rewrites <paramref name="logits"/>, an output of the model, to [batch, 1, vocabulary].</summary>
    /// <param name="model">The model to change.</param>
    /// <param name="logits">Its output, declared as [batch, S, vocabulary].</param>
    /// <param name="sequenceLengths">The value with each row's valid tokens less one, int32.</param>
    public static void Apply(ModelProto model, ValueInfoProto logits, string sequenceLengths)
    {
        var opset = NodeWriter.Opset(model);
        if (opset < LeastOpset)
            throw new ModelRewriteException($"The graph uses opset {opset}; logits of one position need {LeastOpset} or newer.");
        if (logits.Type?.TensorType?.Shape is not { Dim.Count: 3 } shape)
            throw new ModelRewriteException($"Output '{logits.Name}' is not declared as [batch, sequence, vocabulary].");

        var graph = model.Graph;
        var index = new GraphIndex(graph);
        var writer = new NodeWriter(model);
        var head = FindHead(index, logits.Name, out var resized);
        if (head is not null)
        {
            // Gather before the vocabulary projection, so that it runs for one position only.
            var gathered = writer.Fresh("kvprune/last_position");
            Insert(graph, graph.Node.IndexOf(head), Gather(writer, head.Input[0], sequenceLengths, gathered));
            head.Input[0] = gathered;
        }
        else
        {
            var producer = index.Producer(logits.Name)
                ?? throw new ModelRewriteException($"No node makes output '{logits.Name}'.");
            var all = writer.Fresh("kvprune/all_positions");
            foreach (var reader in index.Readers(logits.Name))
                reader.ReplaceReads(logits.Name, all);
            producer.Output[producer.Output.IndexOf(logits.Name)] = all;
            Insert(graph, graph.Node.IndexOf(producer) + 1, Gather(writer, all, sequenceLengths, logits.Name));
        }

        foreach (var value in graph.ValueInfo.Where(value => resized.Contains(value.Name)).ToList())
            graph.ValueInfo.Remove(value);
        shape.Dim[1] = new TensorShapeProto.Types.Dimension { DimValue = 1 };
    }

    // The vocabulary projection, where nothing but casts lies between it and the logits and nobody else sees the values
    // in between. `resized` gets every value whose shape changes.
    private static NodeProto? FindHead(GraphIndex index, string logits, out HashSet<string> resized)
    {
        resized = [logits];
        var value = logits;
        var readers = 0;
        while (index.Readers(value).Count() == readers && (value == logits || !index.Outputs.Contains(value))
            && index.Producer(value) is { } node)
        {
            if (IsProjection(node))
            {
                var hidden = node.InputAt(0);
                var rank = index.TensorType(hidden)?.Shape?.Dim.Count ?? 3;
                return rank == 3 && index.Producer(hidden) is not null ? node : null;
            }

            if (!GraphIndex.IsCast(node) || !resized.Add(node.InputAt(0)))
                return null;
            value = node.InputAt(0);
            readers = 1;
        }

        return null;
    }

    private static bool IsProjection(NodeProto node) =>
        node.IsStandard("MatMul") || node is { OpType: "MatMulNBits", Domain: "com.microsoft" };

    private static List<NodeProto> Gather(NodeWriter writer, string data, string sequenceLengths, string output)
    {
        var one = writer.Int64([], 1);
        var length = writer.Node("Gather", [writer.Node("Shape", [data]), one]);
        var last = writer.Node("Sub", [length, one]);
        var valid = writer.Cast(sequenceLengths, TensorProto.Types.DataType.Int64);
        var position = writer.Node("Min", [valid, last]);
        // One index a row: [batch, 1, 1].
        writer.NodeTo(output, "GatherND", [data, writer.Reshape(position, -1, 1, 1)], NodeAttribute.Int("batch_dims", 1));
        return writer.Nodes;
    }

    private static void Insert(GraphProto graph, int at, List<NodeProto> nodes)
    {
        foreach (var node in nodes)
            graph.Node.Insert(at++, node);
    }
}
