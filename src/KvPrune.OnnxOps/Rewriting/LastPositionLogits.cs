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
        var opset = model.OpsetImport.FirstOrDefault(import => import.Domain is "" or "ai.onnx")?.Version ?? 0;
        if (opset < LeastOpset)
            throw new ModelRewriteException($"The graph uses opset {opset}; logits of one position need {LeastOpset} or newer.");
        if (logits.Type?.TensorType?.Shape is not { Dim.Count: 3 } shape)
            throw new ModelRewriteException($"Output '{logits.Name}' is not declared as [batch, sequence, vocabulary].");

        var graph = model.Graph;
        var index = new GraphIndex(graph);
        var names = new NamePool(graph);
        var head = FindHead(index, logits.Name, out var resized);
        if (head is not null)
        {
            // Gather before the vocabulary projection, so that it runs for one position only.
            var gathered = names.Fresh("kvprune/last_position");
            Insert(graph, graph.Node.IndexOf(head), Gather(graph, names, head.Input[0], sequenceLengths, gathered));
            head.Input[0] = gathered;
        }
        else
        {
            var producer = index.Producer(logits.Name)
                ?? throw new ModelRewriteException($"No node makes output '{logits.Name}'.");
            var all = names.Fresh("kvprune/all_positions");
            foreach (var reader in index.Readers(logits.Name))
                ReplaceReads(reader, logits.Name, all);
            producer.Output[producer.Output.IndexOf(logits.Name)] = all;
            Insert(graph, graph.Node.IndexOf(producer) + 1, Gather(graph, names, all, sequenceLengths, logits.Name));
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

    private static NodeProto[] Gather(
        GraphProto graph, NamePool names, string data, string sequenceLengths, string output)
    {
        var one = names.Fresh("kvprune/one");
        var perRow = names.Fresh("kvprune/per_row");
        graph.Initializer.Add(Int64(one, [], [1]));
        graph.Initializer.Add(Int64(perRow, [3], [-1, 1, 1]));

        NodeProto Node(string opType, string result, params string[] inputs)
        {
            var node = new NodeProto { Name = names.Fresh($"kvprune/{opType}"), OpType = opType };
            node.Input.Add(inputs);
            node.Output.Add(result);
            return node;
        }

        string Value() => names.Fresh("kvprune/value");
        var shape = Node("Shape", Value(), data);
        var length = Node("Gather", Value(), shape.Output[0], one);
        var last = Node("Sub", Value(), length.Output[0], one);
        var valid = Node("Cast", Value(), sequenceLengths);
        valid.Attribute.Add(PrunedAttention.Int("to", (long)TensorProto.Types.DataType.Int64));
        var position = Node("Min", Value(), valid.Output[0], last.Output[0]);
        var indices = Node("Reshape", Value(), position.Output[0], perRow);
        var gather = Node("GatherND", output, data, indices.Output[0]);
        gather.Attribute.Add(PrunedAttention.Int("batch_dims", 1));
        return [shape, length, last, valid, position, indices, gather];
    }

    private static TensorProto Int64(string name, long[] dims, long[] values)
    {
        var tensor = new TensorProto { Name = name, DataType = (int)TensorProto.Types.DataType.Int64 };
        tensor.Dims.Add(dims);
        tensor.Int64Data.Add(values);
        return tensor;
    }

    private static void Insert(GraphProto graph, int at, NodeProto[] nodes)
    {
        foreach (var node in nodes)
            graph.Node.Insert(at++, node);
    }

    private static void ReplaceReads(NodeProto node, string from, string to)
    {
        for (var i = 0; i < node.Input.Count; i++)
        {
            if (node.Input[i] == from)
                node.Input[i] = to;
        }

        foreach (var inner in node.Subgraphs().SelectMany(graph => graph.Node))
            ReplaceReads(inner, from, to);
    }
}
