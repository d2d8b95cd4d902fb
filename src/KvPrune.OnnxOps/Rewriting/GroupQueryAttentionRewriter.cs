using Google.Protobuf;
using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Rewriting;

namespace KvPrune.OnnxOps;

/// <summary>
/// Replaces every attention node of a decoder (GroupQueryAttention, or MultiHeadAttention that is causal) by the pruned one
/// and takes past_key_values out of its graph. Works on the graph: weights in external files are neither read nor moved,
/// only missed when they are not there. Loading runs one thing, the small part of the graph that makes the mask of
/// MultiHeadAttention nodes, in ONNX Runtime, to see that it is the causal mask.
/// </summary>
/// <remarks>
/// A session made from the rewritten bytes finds external weights through the session configuration entry
/// session.model_external_initializers_file_folder_path, set to the model's folder.
/// </remarks>
public sealed class GroupQueryAttentionRewriter
{
    private const string LogitsOutput = "logits";

    private readonly ModelProto _model;
    private readonly string _sequenceLengths;

    private GroupQueryAttentionRewriter(string modelPath, ModelProto model)
    {
        ModelPath = modelPath;
        _model = model;
        (var nodes, _sequenceLengths) = CacheRemoval.Apply(model);
        Nodes = nodes;
        AttentionNodes = [.. nodes.Select(node => node.Name)];
        InputNames = [.. model.Graph.Input.Select(input => input.Name)];
        OutputNames = [.. model.Graph.Output.Select(output => output.Name)];
    }

    /// <summary>The file that was read.</summary>
    public string ModelPath { get; }

    /// <summary>Names of the attention nodes that are replaced, in the order of their layers.</summary>
    public IReadOnlyList<string> AttentionNodes { get; }

    /// <summary>The graph's inputs after the rewrite, in their order.</summary>
    public IReadOnlyList<string> InputNames { get; }

    /// <summary>The graph's outputs after the rewrite, in their order.</summary>
    public IReadOnlyList<string> OutputNames { get; }

    /// <summary>The attention nodes as they were read, in the order of their layers.</summary>
    internal IReadOnlyList<AttentionNode> Nodes { get; }

    /// <summary>The graph after the rewrite.</summary>
    internal GraphProto Graph => _model.Graph;

    /// <summary>Reads a model and checks that all of its attention can be translated.</summary>
    /// <exception cref="ModelRewriteException">
    /// The file is no ONNX model, holds what cannot be translated, or its external weights are missing or cut short.
    /// </exception>
    public static GroupQueryAttentionRewriter Load(string modelPath)
    {
        ArgumentException.ThrowIfNullOrEmpty(modelPath);
        var model = ModelFile.Read(modelPath);
        return Named(modelPath, () =>
        {
            var rewriter = new GroupQueryAttentionRewriter(modelPath, model);
            ExternalWeights.Require(model.Graph, Path.GetDirectoryName(Path.GetFullPath(modelPath))!);
            return rewriter;
        });
    }

    /// <summary>What the graph declares as the last dimension of an output, which a rewrite leaves as it is; −1 if it is left open.</summary>
    /// <exception cref="ArgumentException">There is no output of this name.</exception>
    public long LastDimension(string output)
    {
        var value = _model.Graph.Output.FirstOrDefault(value => value.Name == output)
            ?? throw new ArgumentException($"{ModelPath} has no output '{output}'.", nameof(output));
        var dimension = value.Type?.TensorType?.Shape?.Dim.LastOrDefault();
        return dimension?.ValueCase == TensorShapeProto.Types.Dimension.ValueOneofCase.DimValue ? dimension.DimValue : -1;
    }

    /// <summary>The shape of the model's cache.</summary>
    /// <param name="maxTokens">The longest sequence the model takes, which a graph does not tell.</param>
    public KvModelShape Shape(long maxTokens) =>
        new(AttentionNodes.Count, Nodes[0].QueryHeads, Nodes[0].KvHeads, Nodes[0].HeadSize, maxTokens);

    /// <summary>The rewritten model file.</summary>
    /// <param name="cacheManagerId"><see cref="KvCacheManager.Id"/> of the manager whose sequences the graph will get.</param>
    /// <param name="logits">Which tokens get logits.</param>
    /// <remarks>float16 logits become float32.</remarks>
    /// <exception cref="ModelRewriteException">The logits cannot be cut down to one position.</exception>
    public byte[] Rewrite(long cacheManagerId, LogitsPositions logits) => Named(ModelPath, () =>
    {
        var model = _model.Clone();
        foreach (var node in model.Graph.Node.Where(node => node.Domain == PrunedAttention.Domain))
            node.Attribute.Add(NodeAttribute.Int(PrunedAttention.CacheManagerAttribute, cacheManagerId));
        var output = FindLogits(model.Graph);
        if (logits == LogitsPositions.Last)
        {
            if (output is null)
                throw new ModelRewriteException($"No output is called '{LogitsOutput}'.");
            LastPositionLogits.Apply(model, output, _sequenceLengths);
        }
        else if (logits != LogitsPositions.All)
        {
            throw new ArgumentOutOfRangeException(nameof(logits), logits, "Unknown logits positions.");
        }

        if (output is not null)
            FloatLogits.Apply(model, output);
        return model.ToByteArray();
    });

    private static ValueInfoProto? FindLogits(GraphProto graph) =>
        graph.Output.FirstOrDefault(output => output.Name == LogitsOutput)
        ?? (graph.Output.Count == 1 ? graph.Output[0] : null);

    /// <summary>Adds the file's path to what is said about it.</summary>
    internal static T Named<T>(string path, Func<T> work)
    {
        try
        {
            return work();
        }
        catch (ModelRewriteException e)
        {
            throw new ModelRewriteException($"{path}: {e.Message}", e);
        }
    }
}
