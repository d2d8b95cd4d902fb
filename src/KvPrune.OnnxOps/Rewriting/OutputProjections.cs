using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Rewriting;
using KvPrune.OnnxOps.Rewriting.Projections;

namespace KvPrune.OnnxOps;

/// <summary>
/// The output projections W_O behind a decoder's attention nodes, in the form that weighs values: ‖W_O v‖² = vᵀ G v. Weights
/// are read when a layer is asked for, a slice at a time.
/// </summary>
public sealed class OutputProjections
{
    private readonly GroupQueryAttentionRewriter _model;
    private readonly GraphIndex _index;
    private readonly string _folder;

    private OutputProjections(GroupQueryAttentionRewriter model)
    {
        _model = model;
        _index = new GraphIndex(model.Graph);
        _folder = Path.GetDirectoryName(Path.GetFullPath(model.ModelPath))!;
    }

    /// <summary>Attention nodes.</summary>
    public int Layers => _model.Nodes.Count;

    /// <summary>Opens the model at <paramref name="modelPath"/> without reading weights.</summary>
    /// <inheritdoc cref="GroupQueryAttentionRewriter.Load" path="/exception"/>
    public static OutputProjections Open(string modelPath) => new(GroupQueryAttentionRewriter.Load(modelPath));

    /// <summary>The Gram matrices of a layer.</summary>
    /// <param name="layer">The layer, from 0 on.</param>
    /// <returns>
    /// [KV heads, head size, head size]: for each KV head the sum, over the query heads of its group, of WᵀW, where
    /// W [hidden, head size] is the head's part of the projection.
    /// </returns>
    /// <exception cref="ModelRewriteException">
    /// No projection was found behind the attention node, or it is stored in a way that is not known; the message names the
    /// node or the tensor.
    /// </exception>
    public float[] Gram(int layer)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(layer);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(layer, Layers);
        return GroupQueryAttentionRewriter.Named(_model.ModelPath, () =>
        {
            var node = _model.Nodes[layer];
            using var weight = new ProjectionFinder(_index, _folder).Find(node);
            var gram = GramMatrices.Of(weight, node.KvHeads, node.HeadSize);
            return Array.TrueForAll(gram, float.IsFinite)
                ? gram
                : throw new ModelRewriteException(
                    $"{node.Label}: the output projection behind it holds weights that are not finite or too large.");
        });
    }

    /// <summary>Gives the matrices of all layers to a manager that has none yet.</summary>
    /// <inheritdoc cref="Gram" path="/exception"/>
    /// <exception cref="KvCacheException">The manager has matrices already.</exception>
    public void GiveTo(KvCacheManager manager)
    {
        ArgumentNullException.ThrowIfNull(manager);
        var grams = new float[Layers][];
        try
        {
            Parallel.For(0, Layers, layer => grams[layer] = Gram(layer));
        }
        catch (AggregateException e) when (e.InnerExceptions.FirstOrDefault(inner => inner is ModelRewriteException) is { } first)
        {
            throw new ModelRewriteException(first.Message, first);
        }

        // Not before all are read, so that a failure leaves the manager as it was.
        for (var layer = 0; layer < grams.Length; layer++)
            manager.SetOutputGram(layer, grams[layer]);
    }
}
