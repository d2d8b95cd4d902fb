using KvPrune.OnnxOps.Interop;

namespace KvPrune.OnnxOps;

/// <summary>
/// One run of the graph as a transaction over all layers of its sequences: begin, run the session, commit. Disposing an
/// uncommitted step drops its tokens in every layer.
/// </summary>
public sealed class KvStep : IDisposable
{
    // The sequences are held so that none is collected, and so released, while the graph runs.
    private readonly KvSequence[] _sequences;
    private readonly long[] _handles;
    private State _state = State.Open;

    private KvStep(KvSequence[] sequences, long[] handles)
    {
        _sequences = sequences;
        _handles = handles;
    }

    private enum State
    {
        Open,
        Committed,
        Disposed,
    }

    /// <summary>Begins a step that adds <paramref name="newTokens"/> tokens to one sequence.</summary>
    /// <inheritdoc cref="Begin(IReadOnlyList{KvSequence}, int)" path="/exception"/>
    public static KvStep Begin(KvSequence sequence, int newTokens)
    {
        ArgumentNullException.ThrowIfNull(sequence);
        return Begin([sequence], newTokens);
    }

    /// <summary>
    /// Begins a step that adds <paramref name="newTokensEach"/> tokens to each of the sequences, in the order of the
    /// batch. Takes all of them or none.
    /// </summary>
    /// <exception cref="ArgumentException">There is no sequence, or no token to add.</exception>
    /// <exception cref="ObjectDisposedException">A sequence was disposed.</exception>
    /// <exception cref="KvCacheException">
    /// A sequence is in another open step or named twice, the tokens do not fit its open segment or (without one) are
    /// not exactly one, or there is no memory left.
    /// </exception>
    public static KvStep Begin(IReadOnlyList<KvSequence> sequences, int newTokensEach)
    {
        ArgumentNullException.ThrowIfNull(sequences);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(newTokensEach);
        if (sequences.Count == 0)
            throw new ArgumentException("A step needs at least one sequence.", nameof(sequences));
        KvSequence[] held = [.. sequences];
        var handles = Array.ConvertAll(
            held, sequence => sequence?.Handle ?? throw new ArgumentException("A sequence is null.", nameof(sequences)));
        var newTokens = new int[handles.Length];
        Array.Fill(newTokens, newTokensEach);
        NativeMethods.kvp_step_begin(handles, newTokens, handles.Length).ThrowOnFailure();
        return new KvStep(held, handles);
    }

    /// <summary>
    /// Begins a step of one sequence whose tokens follow its full deferred segment, see it and themselves causally, and
    /// are dropped when the step ends, committed or not: the sequence stays as it is.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="newTokens"/> is not positive.</exception>
    /// <exception cref="ObjectDisposedException">The sequence was disposed.</exception>
    /// <exception cref="KvCacheException">
    /// No deferred segment is open and full, it was opened for shorter probe steps, the tokens would pass the model's longest
    /// sequence, or the sequence is in another open step.
    /// </exception>
    public static KvStep BeginProbe(KvSequence sequence, int newTokens)
    {
        ArgumentNullException.ThrowIfNull(sequence);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(newTokens);
        var handle = sequence.Handle;
        NativeMethods.kvp_step_begin_probe(handle, newTokens).ThrowOnFailure();
        return new KvStep([sequence], [handle]);
    }

    /// <summary>Makes the step's tokens part of the sequences, sealing what leaves the dense tail.</summary>
    /// <exception cref="InvalidOperationException">The step was committed before.</exception>
    /// <exception cref="KvCacheException">The graph did not run over every layer, or there is no memory left.</exception>
    public void Commit()
    {
        ObjectDisposedException.ThrowIf(_state == State.Disposed, this);
        if (_state == State.Committed)
            throw new InvalidOperationException("The step was committed before.");
        NativeMethods.kvp_step_commit(_handles, _handles.Length).ThrowOnFailure();
        _state = State.Committed;
        GC.KeepAlive(_sequences);
    }

    /// <summary>Rolls back unless <see cref="Commit"/> succeeded.</summary>
    public void Dispose()
    {
        if (_state == State.Open)
        {
            // A failure means that a sequence is gone or still in a run; its next use says so.
            _ = NativeMethods.kvp_step_rollback(_handles, _handles.Length);
        }

        _state = State.Disposed;
        foreach (var sequence in _sequences)
            sequence.ReleaseIfDisposed();
    }
}
