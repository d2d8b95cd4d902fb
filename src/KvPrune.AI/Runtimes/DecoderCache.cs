using KvPrune.OnnxOps;

namespace KvPrune.AI.Runtimes;

/// <summary>
/// A decoder's cache manager, which gets the model's output projection before the first sequence whose policy needs it.
/// Owns the manager.
/// </summary>
/// <param name="manager">Creates the sequences that the graph accepts.</param>
/// <param name="modelPath">The model file, from which the projection is read.</param>
internal sealed class DecoderCache(KvCacheManager manager, string modelPath) : IDisposable
{
    private readonly Lock _reading = new();
    private bool _hasWeights;

    public KvModelShape Shape => manager.Shape;

    /// <summary>Reads what sequences with this policy need.</summary>
    /// <exception cref="ModelRewriteException">
    /// The policy needs the output projection, and the model has none that can be used; names the attention node.
    /// </exception>
    public void Prepare(PruningPolicy policy)
    {
        if (!policy.NeedsOutputWeights) return;
        lock (_reading)
        {
            if (_hasWeights) return;
            OutputProjections.Open(modelPath).GiveTo(manager);
            _hasWeights = true;
        }
    }

    /// <summary>An empty sequence.</summary>
    /// <inheritdoc cref="Prepare" path="/exception"/>
    public KvSequence CreateSequence(PruningPolicy policy)
    {
        Prepare(policy);
        return manager.CreateSequence(policy);
    }

    public KvCacheStatistics GetStatistics() => manager.GetStatistics();

    public void Dispose() => manager.Dispose();
}
