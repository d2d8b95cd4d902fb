using KvPrune.OnnxOps.Interop;

namespace KvPrune.OnnxOps;

/// <summary>
/// The KV cache of one model: creates sequences and counts their bytes. Safe for use from several threads. Sequences
/// still alive when the manager is disposed keep their memory until they are disposed.
/// </summary>
public sealed class KvCacheManager : IDisposable
{
    private readonly ManagerHandle _handle;

    /// <summary>A cache for models of the given shape.</summary>
    /// <param name="shape">Heads, layers and longest sequence of the model.</param>
    /// <param name="byteLimit">The most bytes that all sequences may take together; null: what the machine has.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="byteLimit"/> is not positive.</exception>
    /// <exception cref="KvCacheException">The shape is one that the cache does not support.</exception>
    /// <exception cref="DllNotFoundException">The native library is missing or does not load.</exception>
    public KvCacheManager(KvModelShape shape, long? byteLimit = null)
    {
        ArgumentNullException.ThrowIfNull(shape);
        if (byteLimit is { } limit)
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(limit, nameof(byteLimit));
        NativeLibraryFile.EnsureLoaded();
        NativeMethods.kvp_manager_create(new NativeModelShape(shape), byteLimit ?? 0, out var manager).ThrowOnFailure();
        _handle = new ManagerHandle(manager);
        Shape = shape;
        NativeMethods.kvp_manager_id(_handle, out var id).ThrowOnFailure();
        Id = id;
    }

    /// <summary>What a graph's cache_manager attributes must carry for its nodes to accept this manager's sequences.</summary>
    public long Id { get; }

    /// <summary>The model shape given at construction.</summary>
    public KvModelShape Shape { get; }

    /// <summary>
    /// Exact bytes of one sequence: a prompt of one segment of <paramref name="promptTokens"/> tokens read in chunks of
    /// <paramref name="chunkTokens"/> (0: in one run), then <paramref name="generatedTokens"/> decode steps. Of a policy with
    /// <see cref="PruningPolicy.NeedsDeferredSegment"/>: a deferred segment, opened for probe steps of at most
    /// <paramref name="probeTokens"/>, that is gone once it was sealed. Where heads have budgets by their scores, and formats
    /// an error budget, it is the most that they can come to; with <see cref="TokenEviction.WhileDecoding"/> too, including
    /// what a step holds twice while it moves rows. Of answers of more than 1,024 tokens, tiles are joined where memory allows,
    /// which saves a little.
    /// </summary>
    /// <exception cref="ArgumentException">The policy cannot be used, or a count is negative.</exception>
    /// <exception cref="KvCacheException">
    /// The cache does not support the shape, or the policy has entries for another number of layers.
    /// </exception>
    public static KvBytesEstimate EstimateBytes(
        KvModelShape shape, PruningPolicy policy, long promptTokens, long generatedTokens = 0, long chunkTokens = 0,
        long probeTokens = 0)
    {
        ArgumentNullException.ThrowIfNull(shape);
        ArgumentNullException.ThrowIfNull(policy);
        ArgumentOutOfRangeException.ThrowIfNegative(promptTokens);
        ArgumentOutOfRangeException.ThrowIfNegative(generatedTokens);
        ArgumentOutOfRangeException.ThrowIfNegative(chunkTokens);
        ArgumentOutOfRangeException.ThrowIfNegative(probeTokens);
        policy.Validate();
        NativeLibraryFile.EnsureLoaded();
        var layers = NativeLayerSparsity.All(policy);
        var status = NativeMethods.kvp_estimate_bytes(
            new NativeModelShape(shape), new NativePolicy(policy, layers), promptTokens, generatedTokens, chunkTokens, probeTokens,
            out var estimate);
        GC.KeepAlive(layers);
        status.ThrowOnFailure();
        return estimate;
    }

    /// <summary>An empty sequence whose rows will be kept as <paramref name="policy"/> says.</summary>
    /// <exception cref="ArgumentException">The policy cannot be used.</exception>
    /// <exception cref="KvCacheException">
    /// The policy has entries for another number of layers than the model has or needs weights that
    /// <see cref="SetOutputGram"/> did not give, or there is no memory left.
    /// </exception>
    public KvSequence CreateSequence(PruningPolicy policy)
    {
        ArgumentNullException.ThrowIfNull(policy);
        policy.Validate();
        var layers = NativeLayerSparsity.All(policy);
        var status = NativeMethods.kvp_sequence_create(_handle, new NativePolicy(policy, layers), out var sequence);
        GC.KeepAlive(layers);
        status.ThrowOnFailure();
        return new KvSequence(sequence, Shape, policy);
    }

    /// <summary>
    /// Gives a layer's output projection in the form that weighs values, which policies with
    /// <see cref="PruningPolicy.NeedsOutputWeights"/> need for every layer; see <see cref="OutputProjections"/>. Once per layer.
    /// </summary>
    /// <param name="layer">The layer, from 0 on.</param>
    /// <param name="gram">
    /// [KV heads, head size, head size]: for each KV head the sum, over the query heads of its group, of WᵀW, where
    /// W [hidden, head size] is the head's part of the projection. It is copied.
    /// </param>
    /// <exception cref="ArgumentException">The layer does not exist, or the matrices have another size.</exception>
    /// <exception cref="KvCacheException">An entry is not finite, or the layer has its matrices already.</exception>
    public void SetOutputGram(int layer, ReadOnlySpan<float> gram)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(layer);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(layer, Shape.Layers);
        var needed = Shape.KvHeads * Shape.HeadSize * Shape.HeadSize;
        if (gram.Length != needed)
            throw new ArgumentException($"The matrices have {needed} entries, the span {gram.Length}.", nameof(gram));
        NativeMethods.kvp_manager_set_output_gram(_handle, layer, gram, gram.Length).ThrowOnFailure();
    }

    /// <summary>The bytes in use now.</summary>
    public KvCacheStatistics GetStatistics()
    {
        NativeMethods.kvp_manager_get_statistics(_handle, out var statistics).ThrowOnFailure();
        return statistics;
    }

    /// <summary>Releases the manager.</summary>
    public void Dispose() => _handle.Dispose();
}
