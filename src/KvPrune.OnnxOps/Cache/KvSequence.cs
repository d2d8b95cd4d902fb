using System.Runtime.InteropServices;
using KvPrune.OnnxOps.Interop;

namespace KvPrune.OnnxOps;

/// <summary>
/// The cached past of one token sequence, over all layers of a model. Different sequences may be used from different
/// threads at once; one sequence from one thread at a time. A sequence that is dropped without being disposed is
/// released by the garbage collector.
/// </summary>
/// <remarks>
/// A prompt is read as one or more segments: <see cref="OpenSegment"/>, then steps (<see cref="KvStep"/>) until the
/// announced tokens are in; the step that completes a segment compresses it and takes a checkpoint. Without an open
/// segment every step adds exactly one token. A deferred segment (<see cref="OpenDeferredSegment"/>) stays uncompressed:
/// <see cref="SealAs"/> makes compressed sequences of it, under as many policies as wanted.
/// </remarks>
public sealed class KvSequence : IDisposable
{
    private readonly long _handle;
    private readonly KvModelShape _shape;
    private volatile bool _disposed;

    internal KvSequence(long handle, KvModelShape shape, PruningPolicy policy)
    {
        _handle = handle;
        _shape = shape;
        Policy = policy;
    }

    /// <summary>Releases a sequence that nobody disposed.</summary>
    ~KvSequence() => Release();

    /// <summary>What the graph input <see cref="KvPruneOps.SequenceHandlesInput"/> carries for this sequence.</summary>
    /// <exception cref="ObjectDisposedException">The sequence was disposed.</exception>
    public long Handle
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return _handle;
        }
    }

    /// <summary>What is kept of its rows.</summary>
    public PruningPolicy Policy { get; }

    /// <summary>Committed tokens.</summary>
    public long Length => GetInfo().Length;

    /// <summary>
    /// A second sequence with the same past. Sealed tiles are shared; only the dense tail is copied. Checkpoints stay with
    /// its source.
    /// </summary>
    /// <exception cref="KvCacheException">A step or a segment is open, or there is no memory left.</exception>
    public KvSequence Fork()
    {
        Check(NativeMethods.kvp_sequence_fork(Handle, out var fork));
        return new KvSequence(fork, _shape, Policy);
    }

    /// <summary>
    /// Announces a prompt segment of exactly <paramref name="tokens"/> tokens. It keeps all of them where the policy needs a
    /// deferred segment (<see cref="PruningPolicy.NeedsDeferredSegment"/>).
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="tokens"/> is not positive.</exception>
    /// <exception cref="KvCacheException">
    /// A segment is already open, it would pass the model's longest sequence, or the policy divides one budget among all layers
    /// or scores tokens by their reconstruction and so needs <see cref="OpenDeferredSegment"/>.
    /// </exception>
    public void OpenSegment(long tokens)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(tokens);
        Check(NativeMethods.kvp_sequence_open_segment(Handle, tokens));
    }

    /// <summary>
    /// Announces a prompt segment of exactly <paramref name="tokens"/> tokens whose rows stay uncompressed, in 32 bits, so
    /// that <see cref="SealAs"/> can compress them under several policies. This sequence then takes no further tokens;
    /// rewinding drops the segment.
    /// </summary>
    /// <param name="tokens">Length of the segment.</param>
    /// <param name="policies">Those that it will be sealed as: what they need beside the rows is kept.</param>
    /// <param name="probeTokens">The most tokens of a <see cref="KvStep.BeginProbe"/>.</param>
    /// <exception cref="ArgumentException">A policy cannot be used, or a count is out of range.</exception>
    /// <exception cref="KvCacheException">A segment is already open, or it would pass the model's longest sequence.</exception>
    public void OpenDeferredSegment(long tokens, IReadOnlyList<PruningPolicy> policies, long probeTokens = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(tokens);
        ArgumentNullException.ThrowIfNull(policies);
        ArgumentOutOfRangeException.ThrowIfNegative(probeTokens);
        foreach (var policy in policies)
        {
            if (policy is null)
                throw new ArgumentException("A policy is null.", nameof(policies));
            policy.Validate();
        }

        var layers = policies.Select(NativeLayerSparsity.All).ToArray();
        NativePolicy[] natives = [.. policies.Zip(layers, (policy, own) => new NativePolicy(policy, own))];
        Check(NativeMethods.kvp_sequence_open_deferred_segment(Handle, tokens, natives, natives.Length, probeTokens));
        GC.KeepAlive(layers);
    }

    /// <summary>
    /// Gives one layer's rows of an open deferred segment without a run of the graph. The segment is full when every layer
    /// has its rows.
    /// </summary>
    /// <param name="layer">The layer.</param>
    /// <param name="keys">Keys with their rotary embedding, [KV heads, segment tokens, head size].</param>
    /// <param name="values">Values, as the keys.</param>
    /// <param name="queries">
    /// Queries of the segment's last tokens with their rotary embedding, [tokens, query heads, head size]: of at least as
    /// many as the announced policies observe. May be empty when none of them does.
    /// </param>
    /// <exception cref="ArgumentException">The layer does not exist, or a span holds no whole rows.</exception>
    /// <exception cref="KvCacheException">
    /// No deferred segment is open, tokens of it were read, the spans do not fit it, a row holds a NaN or an infinity, a policy
    /// scores tokens by all queries of the segment, or there is no memory left.
    /// </exception>
    public unsafe void Fill(
        int layer, ReadOnlySpan<float> keys, ReadOnlySpan<float> values, ReadOnlySpan<float> queries = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(layer);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(layer, _shape.Layers);
        var tokens = TokensOf(keys, _shape.KvHeads, nameof(keys));
        if (values.Length != keys.Length)
            throw new ArgumentException($"The keys hold {keys.Length} floats, the values {values.Length}.", nameof(values));
        var queryTokens = TokensOf(queries, _shape.QueryHeads, nameof(queries));
        fixed (float* k = keys, v = values, q = queries)
            Check(NativeMethods.kvp_sequence_fill(Handle, layer, tokens, k, v, q, queryTokens));
    }

    /// <summary>
    /// A new sequence with this one's past, its full deferred segment compressed as if it had been read under
    /// <paramref name="policy"/>. What was sealed before the segment is shared, as it is; a checkpoint is at the end. This
    /// sequence is unchanged and can be sealed again.
    /// </summary>
    /// <exception cref="ArgumentException">The policy cannot be used.</exception>
    /// <exception cref="KvCacheException">
    /// No deferred segment is open and full, it was opened without a policy that needs as much as this one, the policy scores
    /// tokens by their reconstruction and no <see cref="KvStep.BeginProbe"/> was committed, a step is open, or there is no
    /// memory left.
    /// </exception>
    public KvSequence SealAs(PruningPolicy policy)
    {
        ArgumentNullException.ThrowIfNull(policy);
        policy.Validate();
        var layers = NativeLayerSparsity.All(policy);
        Check(NativeMethods.kvp_sequence_seal_as(Handle, new NativePolicy(policy, layers), out var made));
        GC.KeepAlive(layers);
        return new KvSequence(made, _shape, policy);
    }

    /// <summary>
    /// Remembers the present length as one that <see cref="Rewind"/> can return to exactly. Costs a dense tail, and later the
    /// tiles of generated tokens that the sequence joins (16 into one piece of memory) or evicts rows of.
    /// </summary>
    public void Checkpoint() => Check(NativeMethods.kvp_sequence_checkpoint(Handle));

    /// <summary>
    /// Goes back to <paramref name="length"/>: 0, a checkpoint, or a length since the last sealing. What follows is what would
    /// have followed then; only inside a prompt too short to be sealed, the rows before it are now rounded to the tail's
    /// storage. An open segment is dropped and must begin at or after that length. Needs no memory.
    /// </summary>
    /// <remarks>
    /// With <see cref="TokenEviction.WhileDecoding"/> that is so of 0 and checkpoints. At another length since the last sealing,
    /// tokens that were evicted stay so, and the attention of the tokens that are dropped still counts.
    /// </remarks>
    /// <exception cref="KvCacheException">The length is neither; the sequence is unchanged.</exception>
    public void Rewind(long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        Check(NativeMethods.kvp_sequence_rewind(Handle, length));
    }

    /// <summary>Length, open segment and bytes.</summary>
    public KvSequenceInfo GetInfo()
    {
        Check(NativeMethods.kvp_sequence_get_info(Handle, out var info));
        return info;
    }

    /// <summary>
    /// The rows of one KV head as attention reads them, row-major [<see cref="Length"/>, head size], removed entries and rows 0,
    /// keys with their rotary embedding. For tests and evaluation.
    /// </summary>
    /// <exception cref="ArgumentException">The layer or head does not exist, or a span is too short.</exception>
    public unsafe void ReadRows(int layer, int kvHead, Span<float> keys, Span<float> values)
    {
        CheckHead(layer, kvHead);
        var rows = Length;
        var needed = rows * _shape.HeadSize;
        if (keys.Length < needed)
            throw new ArgumentException($"The rows need {needed} floats, the span holds {keys.Length}.", nameof(keys));
        if (values.Length < needed)
            throw new ArgumentException($"The rows need {needed} floats, the span holds {values.Length}.", nameof(values));
        fixed (float* k = keys, v = values)
            Check(NativeMethods.kvp_sequence_read(Handle, layer, kvHead, rows, k, v));
    }

    /// <summary>Which tokens one KV head still has rows of, the oldest first: <see cref="Length"/> entries.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The layer or head does not exist.</exception>
    public bool[] ReadKept(int layer, int kvHead)
    {
        CheckHead(layer, kvHead);
        var kept = new bool[Length];
        Check(NativeMethods.kvp_sequence_kept(
            Handle, layer, kvHead, kept.Length, MemoryMarshal.AsBytes(kept.AsSpan())));
        return kept;
    }

    /// <summary>What one KV head keeps of the prompt that was compressed last.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The layer or head does not exist.</exception>
    public KvHeadInfo ReadHead(int layer, int kvHead)
    {
        CheckHead(layer, kvHead);
        Check(NativeMethods.kvp_sequence_get_head(Handle, layer, kvHead, out var info));
        return info;
    }

    /// <summary>
    /// Releases the sequence; doing it twice is harmless. One that takes part in an open step is released when that ends.
    /// </summary>
    public void Dispose()
    {
        Release();
        GC.SuppressFinalize(this);
    }

    /// <summary>Makes up for a <see cref="Dispose"/> during a step that has now ended.</summary>
    internal void ReleaseIfDisposed()
    {
        if (_disposed)
            Release();
    }

    private void CheckHead(int layer, int kvHead)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(layer);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(layer, _shape.Layers);
        ArgumentOutOfRangeException.ThrowIfNegative(kvHead);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(kvHead, _shape.KvHeads);
    }

    private long TokensOf(ReadOnlySpan<float> rows, int heads, string name)
    {
        var width = heads * _shape.HeadSize;
        return rows.Length % width == 0
            ? rows.Length / width
            : throw new ArgumentException($"{rows.Length} floats are no whole number of rows of {width}.", name);
    }

    // Keeps the finalizer away until the native call has returned.
    private void Check(KvCacheStatus status)
    {
        GC.KeepAlive(this);
        status.ThrowOnFailure();
    }

    // A handle carries a generation counter, so a second release, or one that races with a use, is reported and does
    // nothing. The only failure that leaves the sequence alive is an open step.
    private void Release()
    {
        _disposed = true;
        _ = NativeMethods.kvp_sequence_release(_handle);
    }
}
