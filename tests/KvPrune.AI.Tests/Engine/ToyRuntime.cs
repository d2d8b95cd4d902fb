using System.Collections.Concurrent;
using KvPrune.AI.Runtimes;
using KvPrune.AI.Sampling;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Tests.Engine;

/// <summary>
/// A deterministic stand-in for a model: the next token is a hash of all tokens so far, the segment ends and the
/// policy, so any mixed-up, lost or doubled token changes the answer. Counts bytes and checks the calls' order.
/// </summary>
internal sealed class ToyRuntime : IDecoderRuntime
{
    public const int EndToken = 0;
    public const int TokenBytes = 10;
    public const int StagedTokenBytes = 40;

    private readonly ConcurrentDictionary<ToySequence, byte> _alive = new();

    public KvModelShape Shape { get; } = new(1, 1, 1, 8, 1_000_000);

    public int VocabularySize => LoopError is null ? Vocabulary : throw LoopError;

    public int Vocabulary { get; init; } = 64;

    /// <summary>Draws the next token in place of the hash.</summary>
    public Func<ToySequence, int>? Script { get; init; }

    /// <summary>Thrown where the scheduler expects nothing to fail.</summary>
    public Exception? LoopError { get; set; }

    public long? ByteLimit { get; init; }

    /// <summary>Runs before each step; may throw or block.</summary>
    public Action<ToyStep>? OnStep { get; set; }

    /// <summary>Makes the logits after this token NaN.</summary>
    public int? PoisonToken { get; init; }

    public ConcurrentQueue<ToyStep> Steps { get; } = new();

    public long PeakBytes { get; private set; }

    public int SequencesAlive => _alive.Count;

    public bool IsDisposed { get; private set; }

    /// <summary>What an answer has to be, computed in one go.</summary>
    public static int[] ExpectedAnswer(int[] prompt, int[] ends, PruningPolicy policy, int maxTokens)
    {
        List<int> tokens = [.. prompt];
        List<int> answer = [];
        while (answer.Count < maxTokens)
        {
            int next = Next(tokens, ends, policy);
            if (next == EndToken) break;
            answer.Add(next);
            tokens.Add(next);
        }
        return [.. answer];
    }

    public int MaxDecodeBatch { get; init; } = int.MaxValue;

    public IGuidedSampler Guide(Guidance guidance, SamplingOptions sampling) => throw new NotSupportedException("The toy has no grammars.");

    public IDecoderSequence CreateSequence(PruningPolicy policy) => Track(new ToySequence(this, policy));

    public KvBytesEstimate EstimateBytes(PruningPolicy policy, int promptTokens, int generatedTokens, int chunkTokens, int probeTokens = 0) =>
        new((long)TokenBytes * (promptTokens + generatedTokens), (long)StagedTokenBytes * promptTokens + (policy.NeedsDeferredSegment ? (long)TokenBytes * promptTokens + (long)StagedTokenBytes * probeTokens : 0));

    public KvCacheStatistics GetStatistics()
    {
        ToySequence[] alive = [.. _alive.Keys];
        long sealedBytes = alive.SelectMany(s => s.Blocks).Distinct().Sum(block => (long)block.Tokens * TokenBytes);
        return new(sealedBytes, alive.Sum(s => s.TailBytes), alive.Sum(s => s.StagingBytes), PeakBytes, alive.Length, WeightBytes: 0);
    }

    public void Prefill(IDecoderSequence sequence, ReadOnlySpan<int> tokens, Span<float> logits, CancellationToken cancellation)
    {
        var toy = (ToySequence)sequence;
        Announce(new ToyStep(true, [toy], tokens.ToArray(), cancellation));
        cancellation.ThrowIfCancellationRequested();
        RequireMemory((long)tokens.Length * StagedTokenBytes);
        toy.Read(tokens);
        NotePeak();
        FillLogits(toy, logits);
    }

    public void Probe(IDecoderSequence sequence, ReadOnlySpan<int> tokens, Span<float> logits, CancellationToken cancellation)
    {
        var toy = (ToySequence)sequence;
        toy.RequireProbe(tokens.Length);
        Announce(new ToyStep(true, [toy], tokens.ToArray(), cancellation) { IsProbe = true });
        cancellation.ThrowIfCancellationRequested();
        toy.Probed.Add(tokens.ToArray());
        logits[..Vocabulary].Fill(float.NaN); // nobody may draw from them
    }

    public void Decode(ReadOnlySpan<IDecoderSequence> sequences, ReadOnlySpan<int> tokens, Span<float> logits)
    {
        ToySequence[] toys = [.. sequences.ToArray().Cast<ToySequence>()];
        if (toys.Length > MaxDecodeBatch) throw new InvalidOperationException("The batch is larger than was said.");
        if (toys.Distinct().Count() != toys.Length) throw new InvalidOperationException("A sequence is twice in a batch.");
        Announce(new ToyStep(false, toys, tokens.ToArray(), CancellationToken.None));
        RequireMemory((long)toys.Length * TokenBytes);
        for (int i = 0; i < toys.Length; i++) toys[i].Append(tokens[i]);
        NotePeak();
        for (int i = 0; i < toys.Length; i++) FillLogits(toys[i], logits.Slice(i * Vocabulary, Vocabulary));
    }

    public void Dispose() => IsDisposed = true;

    internal ToySequence Track(ToySequence sequence)
    {
        _alive[sequence] = 0;
        NotePeak();
        return sequence;
    }

    internal void Forget(ToySequence sequence) => _alive.TryRemove(sequence, out _);

    private void Announce(ToyStep step)
    {
        Steps.Enqueue(step);
        OnStep?.Invoke(step);
    }

    private void RequireMemory(long more)
    {
        long bytes = GetStatistics().TotalBytes + more;
        if (bytes > ByteLimit) throw new KvCacheException(KvCacheStatus.OutOfMemory, $"{bytes} bytes, the limit is {ByteLimit}");
    }

    private void NotePeak() => PeakBytes = Math.Max(PeakBytes, GetStatistics().TotalBytes);

    private void FillLogits(ToySequence sequence, Span<float> logits)
    {
        int next = Script?.Invoke(sequence) ?? Next(sequence.Tokens, sequence.Ends, sequence.Policy);
        for (int i = 0; i < Vocabulary; i++) logits[i] = i == next ? 10 : i % 64 / 64f;
        if (sequence.Tokens[^1] == PoisonToken) logits[5] = float.NaN;
    }

    private static int Next(IEnumerable<int> tokens, IEnumerable<int> ends, PruningPolicy policy)
    {
        uint hash = (uint)(policy.ValueSparsity * 1000) + 17;
        foreach (int value in tokens.Concat(ends.Select(end => end + 1000))) hash = (hash ^ (uint)value) * 16_777_619;
        hash ^= hash >> 15;
        return (int)(hash % 64);
    }
}

internal sealed record ToyStep(bool IsPrefill, ToySequence[] Sequences, int[] Tokens, CancellationToken Cancellation)
{
    public bool IsProbe { get; init; }
}

internal sealed class ToyBlock(int tokens)
{
    public int Tokens => tokens;
}

internal sealed class ToySequence(ToyRuntime runtime, PruningPolicy policy) : IDecoderSequence
{
    private int _open;
    private int _probeTokens = -1; // a deferred segment is open unless it is negative
    private int _tail;
    private bool _disposed;

    public PruningPolicy Policy => policy;

    public List<int> Tokens { get; private init; } = [];

    public List<int> Ends { get; private init; } = [];

    public List<ToyBlock> Blocks { get; private init; } = [];

    public long TailBytes => (long)_tail * ToyRuntime.TokenBytes;

    public long StagingBytes => (long)(Staged + Math.Max(0, _probeTokens)) * ToyRuntime.StagedTokenBytes;

    public List<int[]> Probed { get; } = [];

    private int Staged { get; set; }

    public IDecoderSequence Fork()
    {
        if (_open > 0 || _probeTokens >= 0 || _disposed) throw new InvalidOperationException("A fork needs a live sequence without an open segment.");
        return runtime.Track(new ToySequence(runtime, policy) { Tokens = [.. Tokens], Ends = [.. Ends], Blocks = [.. Blocks], _tail = _tail });
    }

    public void OpenSegment(int tokens)
    {
        if (_open > 0 || _probeTokens >= 0 || _disposed || tokens < 1) throw new InvalidOperationException("A segment cannot be opened.");
        _open = tokens;
    }

    public void OpenDeferredSegment(int tokens, int probeTokens)
    {
        OpenSegment(tokens);
        _probeTokens = probeTokens;
    }

    public IDecoderSequence Seal()
    {
        RequireFull();
        if (policy.NeedsProbes && Probed.Count == 0) throw new InvalidOperationException("No probe came before.");
        return runtime.Track(new ToySequence(runtime, policy)
        {
            Tokens = [.. Tokens], Ends = [.. Ends], Blocks = [.. Blocks, new ToyBlock(Staged)], _tail = _tail,
        });
    }

    public void RequireProbe(int tokens)
    {
        RequireFull();
        if (tokens < 1 || tokens > _probeTokens) throw new InvalidOperationException($"A probe of {tokens} tokens was not announced.");
    }

    private void RequireFull()
    {
        if (_disposed || _probeTokens < 0 || _open > 0) throw new InvalidOperationException("No deferred segment is full.");
    }

    public KvSequenceInfo GetInfo() => new(
        Tokens.Count, Blocks.Sum(b => b.Tokens), _open, Blocks.Sum(b => (long)b.Tokens * ToyRuntime.TokenBytes), TailBytes, StagingBytes);

    public void Read(ReadOnlySpan<int> tokens)
    {
        if (_disposed || tokens.Length > _open) throw new InvalidOperationException("The tokens do not fit the open segment.");
        foreach (int token in tokens) Tokens.Add(token);
        _open -= tokens.Length;
        Staged += tokens.Length;
        if (_open > 0) return;
        Ends.Add(Tokens.Count);
        if (_probeTokens >= 0) return;
        Blocks.Add(new ToyBlock(Staged));
        Staged = 0;
    }

    /// <summary>What a failure while the segment was being compressed does.</summary>
    public void DropSegment()
    {
        Tokens.RemoveRange(Tokens.Count - Staged, Staged);
        Staged = 0;
        _open = 0;
    }

    public void Append(int token)
    {
        if (_disposed || _open > 0 || _probeTokens >= 0) throw new InvalidOperationException("A decode step needs a live sequence without an open segment.");
        Tokens.Add(token);
        _tail++;
    }

    public void Dispose()
    {
        _disposed = true;
        runtime.Forget(this);
    }
}
