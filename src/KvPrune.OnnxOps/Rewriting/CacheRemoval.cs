using KvPrune.OnnxOps.Onnx;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>Moves a graph from past and present tensors to sequence handles.</summary>
internal static class CacheRemoval
{
    private const string MicrosoftDomain = "com.microsoft";

    // Attention that keeps or needs a past of its own; left in place it would silently see only the new tokens.
    private static readonly HashSet<string> OtherAttention =
    [
        "DecoderMaskedMultiHeadAttention", "DecoderMaskedSelfAttention", "Attention",
        "SparseAttention", "PagedAttention",
    ];

    /// <summary>Rewrites the model in place.</summary>
    /// <returns>
    /// Its attention nodes in the order of their layers, and the value with each row's valid tokens less one, int32.
    /// </returns>
    /// <exception cref="ModelRewriteException">Something cannot be translated.</exception>
    public static (IReadOnlyList<AttentionNode> Nodes, string SequenceLengths) Apply(ModelProto model)
    {
        var graph = model.Graph;
        Screen(graph, isBody: false);
        var index = new GraphIndex(graph);
        var nodes = ReadNodes(model, index);

        var present = nodes.SelectMany(n => n.PresentOutputs).SelectMany(index.ForwardThroughCasts).ToHashSet();
        var past = nodes.SelectMany(n => n.PastInputs).SelectMany(index.ForwardThroughCasts).ToHashSet();
        var onceRead = graph.Node.SelectMany(node => node.Reads()).ToHashSet();
        RemoveOutputs(graph, present);
        var sequenceLengths = Translate(model, nodes);
        AddHandlesInput(model);
        DeadCode.Remove(graph, onceRead);
        RefuseLeftovers(graph, past, "past");
        RefuseLeftovers(graph, present, "present");
        return (nodes, sequenceLengths);
    }

    private static string Translate(ModelProto model, List<AttentionNode> nodes)
    {
        var graph = model.Graph;
        var writer = new NodeWriter(model);
        var layers = new Dictionary<NodeProto, int>(ReferenceEqualityComparer.Instance);
        for (var layer = 0; layer < nodes.Count; layer++)
            layers.Add(nodes[layer].Source, layer);
        var sequenceLengths = "";
        foreach (var node in graph.Node)
        {
            if (layers.TryGetValue(node, out var layer))
                sequenceLengths = nodes[layer].Translate(layer, writer);
            else
                writer.Nodes.Add(node);
        }

        graph.Node.Clear();
        graph.Node.Add(writer.Nodes);
        return sequenceLengths;
    }

    private static void Screen(GraphProto graph, bool isBody)
    {
        foreach (var node in graph.Node)
        {
            if (node.Domain == PrunedAttention.Domain)
                throw new ModelRewriteException($"{node.Label()} shows that the model was rewritten before.");
            if (OtherAttention.Contains(node.OpType))
            {
                throw new ModelRewriteException(
                    $"{node.Label()} is attention other than GroupQueryAttention and MultiHeadAttention, which cannot be translated.");
            }

            if (AttentionNode.IsKnown(node))
            {
                if (node.Domain != MicrosoftDomain)
                    throw new ModelRewriteException($"{node.Label()} is of domain '{node.Domain}', not {MicrosoftDomain}.");
                if (isBody)
                {
                    throw new ModelRewriteException(
                        $"{node.Label()} lies inside another node's body, which cannot be translated.");
                }
            }

            foreach (var body in node.Subgraphs())
                Screen(body, isBody: true);
        }
    }

    // The attention nodes, ordered by layer.
    private static List<AttentionNode> ReadNodes(ModelProto model, GraphIndex index)
    {
        var masks = new CausalMasks(model, index);
        var nodes = model.Graph.Node.Where(AttentionNode.IsKnown).Select(node => AttentionNode.Read(node, index, masks)).ToList();
        if (nodes.Count == 0)
            throw new ModelRewriteException("The graph has no GroupQueryAttention or MultiHeadAttention node.");

        var first = nodes[0];
        var pasts = new Dictionary<string, AttentionNode>();
        foreach (var node in nodes)
        {
            if ((node.QueryHeads, node.KvHeads, node.HeadSize) != (first.QueryHeads, first.KvHeads, first.HeadSize))
            {
                throw new ModelRewriteException(
                    $"{node.Label} has {node.QueryHeads} heads, {node.KvHeads} KV heads and {node.HeadSize} channels, " +
                    $"{first.Label} has {first.QueryHeads}, {first.KvHeads} and {first.HeadSize}; all layers must agree.");
            }

            foreach (var past in node.PastInputs)
            {
                if (!pasts.TryAdd(past, node))
                    throw new ModelRewriteException($"{node.Label} shares the cache '{past}' with {pasts[past].Label}.");
            }
        }

        // Each row has one number of valid tokens.
        var masked = nodes.OfType<MultiHeadNode>().ToList();
        if (masked.Find(node => node.AttentionMask != masked[0].AttentionMask) is { } other)
        {
            throw new ModelRewriteException(
                $"{other.Label} is masked by '{other.AttentionMask}', {masked[0].Label} by '{masked[0].AttentionMask}'; all layers must agree.");
        }

        if (nodes.TrueForAll(n => n.LayerInName is not null))
        {
            nodes = [.. nodes.OrderBy(n => n.LayerInName)];
            for (var layer = 0; layer < nodes.Count; layer++)
            {
                if (nodes[layer] is var node && node.LayerInName != layer)
                {
                    throw new ModelRewriteException(
                        $"{node.Label} reads '{node.PastInputs[0]}', but layer {layer} is missing or doubled.");
                }
            }
        }

        return nodes;
    }

    private static void RemoveOutputs(GraphProto graph, HashSet<string> present)
    {
        var kept = graph.Output.Where(output => !present.Contains(output.Name)).ToList();
        if (kept.Count == 0)
            throw new ModelRewriteException("The graph has no output but the cache.");
        graph.Output.Clear();
        graph.Output.Add(kept);
    }

    private static void AddHandlesInput(ModelProto model)
    {
        var graph = model.Graph;
        const string name = KvPruneOps.SequenceHandlesInput;
        if (graph.Input.Any(input => input.Name == name) || graph.Node.Any(node => node.Output.Contains(name))
            || graph.Initializer.Any(tensor => tensor.Name == name))
        {
            throw new ModelRewriteException($"The graph already has a value '{name}'.");
        }

        var shape = new TensorShapeProto();
        shape.Dim.Add(new TensorShapeProto.Types.Dimension { DimParam = "batch_size" });
        var type = new TypeProto.Types.Tensor { ElemType = (int)TensorProto.Types.DataType.Int64, Shape = shape };
        graph.Input.Add(new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = type } });
        if (!model.OpsetImport.Any(import => import.Domain == PrunedAttention.Domain))
        {
            model.OpsetImport.Add(
                new OperatorSetIdProto { Domain = PrunedAttention.Domain, Version = PrunedAttention.Version });
        }
    }

    private static void RefuseLeftovers(GraphProto graph, HashSet<string> values, string kind)
    {
        foreach (var node in graph.Node)
        {
            if (node.Reads().FirstOrDefault(values.Contains) is { } read)
            {
                throw new ModelRewriteException(
                    $"{node.Label()} reads '{read}' of the {kind} cache, which only attention may.");
            }
        }

        if (graph.Output.FirstOrDefault(output => values.Contains(output.Name)) is { } left)
            throw new ModelRewriteException($"Output '{left.Name}' hands on the {kind} cache.");
    }
}
