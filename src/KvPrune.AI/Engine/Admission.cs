using KvPrune.AI.Runtimes;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Engine;

/// <summary>Decides by bytes whether a request may start. Without a limit every request may.</summary>
internal sealed class Admission(IDecoderRuntime runtime, PrefixCache cache, EngineSettings settings)
{
    /// <summary>Tokens the answer may have within the context.</summary>
    /// <exception cref="PromptTooLongException">The prompt leaves no room for an answer.</exception>
    public int OutputTokens(GenerationRequest request)
    {
        int room = settings.ContextLength - request.Prompt.Length;
        if (room <= 0) throw new PromptTooLongException(request.Prompt.Length, settings.ContextLength);
        return Math.Min(request.MaxOutputTokens, room);
    }

    /// <summary>The most bytes that the request takes at once.</summary>
    /// <exception cref="PromptTooLongException">The document leaves no room for its repetition.</exception>
    /// <exception cref="KvBudgetExceededException">They exceed the limit.</exception>
    public long PeakBytes(GenerationRequest request, int outputTokens)
    {
        int probeTokens = DeferredDocument.Of(request, settings)?.ProbeTokens ?? 0;
        if (settings.KvCacheByteLimit is not { } limit) return 0;
        // While segment i is read, the earlier ones are compressed already. Each end leaves a checkpoint with a dense tail
        // of its own, which is all that an empty sequence takes.
        int start = 0;
        long peak = 0, resident = 0;
        long checkpoints = request.SegmentEnds.SkipLast(1).Sum(end => CheckpointBytes(request.Policy, end));
        foreach (int end in request.SegmentEnds)
        {
            long reading = start > 0 && request.Policy.NeedsDeferredSegment
                ? FollowingPeakBytes(request.Policy, start, end)
                : Estimate(request.Policy, end - start, 0, probeTokens).PrefillPeakBytes;
            peak = Math.Max(peak, resident + reading);
            resident = ResidentBytes(request, end, 0);
            start = end;
        }
        // The last token drawn is never fed.
        peak = Math.Max(peak, ResidentBytes(request, start, outputTokens - 1)) + checkpoints;
        if (peak > limit) throw new KvBudgetExceededException(peak, limit, request.Prompt.Length, outputTokens);
        return peak;
    }

    /// <summary>A dense tail, and the scores of the rows that were kept where tokens are evicted while decoding.</summary>
    private long CheckpointBytes(PruningPolicy policy, int tokens)
    {
        PruningPolicy atEnds = policy with { Eviction = policy.Eviction is { } eviction ? eviction with { WhileDecoding = false } : null };
        long scores = Estimate(policy, tokens, 0).ResidentBytes - Estimate(atEnds, tokens, 0).ResidentBytes;
        return Estimate(atEnds, 0, 0).ResidentBytes + scores;
    }

    private long ResidentBytes(GenerationRequest request, int tokens, int generatedTokens)
    {
        PruningPolicy policy = request.Policy;
        int document = request.SegmentEnds[0];
        if (policy.NeedsDeferredSegment && (tokens > document || generatedTokens > 0))
        {
            return Estimate(policy, document, 0).ResidentBytes
                + Estimate(WithoutEviction(policy), RowsToSeal(policy, document, tokens), generatedTokens).ResidentBytes;
        }
        if (tokens == document || policy.Eviction is null) return Estimate(policy, tokens, generatedTokens).ResidentBytes;
        // Each segment keeps what the policy leaves of a prompt of its own.
        long resident = 0, tail = Estimate(policy, 0, 0).ResidentBytes;
        int start = 0;
        foreach (int end in request.SegmentEnds.TakeWhile(end => end < tokens))
        {
            resident += Estimate(policy, RowsToSeal(policy, start, end), 0).ResidentBytes - tail;
            start = end;
        }
        return resident + Estimate(policy, RowsToSeal(policy, start, tokens), generatedTokens).ResidentBytes;
    }

    /// <summary>The most bytes of a segment after a deferred one: it keeps its tokens, and its rows are dense in all layers.</summary>
    private long FollowingPeakBytes(PruningPolicy policy, int start, int end)
    {
        int rows = RowsToSeal(policy, start, end);
        return Estimate(policy, rows, 0).PrefillPeakBytes + Estimate(WithoutEviction(policy), rows, 0).ResidentBytes;
    }

    /// <summary>A segment's, and what is left in the dense tail before it: fewer than the recent window and a tile.</summary>
    private static int RowsToSeal(PruningPolicy policy, int start, int end) => end - start + Math.Min(start, policy.RecentWindow + 63);

    private static PruningPolicy WithoutEviction(PruningPolicy policy) => policy with
    {
        Eviction = null,
        Layers = [.. policy.Layers.Select(layer => layer with { TokenSparsity = null })],
    };

    /// <summary>
    /// Makes room for a request by dropping cached prompts, least recently used first. The one it begins with is kept
    /// as long as waiting can help; it is null afterwards if it had to go.
    /// </summary>
    /// <returns>False: the request has to wait for a running one to end.</returns>
    public bool TryMakeRoom(long peakBytes, IReadOnlyCollection<ActiveGeneration> running, ref CachedPrompt? hit)
    {
        while (Available(running) < peakBytes - (hit?.Sequence.GetInfo().SealedBytes ?? 0))
        {
            if (cache.EvictOldest(keep: hit)) continue;
            if (running.Count > 0) return false;
            hit = null;
            if (!cache.EvictOldest(keep: null)) break; // all there is: the cache manager has the last word
        }
        return true;
    }

    /// <summary>Whether a copy of this sequence's dense tail may be kept besides what is running.</summary>
    public bool MayFork(IDecoderSequence sequence, IReadOnlyCollection<ActiveGeneration> running) =>
        Available(running) >= sequence.GetInfo().TailBytes;

    private long Available(IReadOnlyCollection<ActiveGeneration> running) =>
        settings.KvCacheByteLimit is { } limit
            ? limit - runtime.GetStatistics().TotalBytes - running.Sum(generation => generation.GrowthBytes)
            : long.MaxValue;

    private KvBytesEstimate Estimate(PruningPolicy policy, int promptTokens, int generatedTokens, int probeTokens = 0) =>
        runtime.EstimateBytes(policy, promptTokens, generatedTokens, settings.PrefillChunkTokens, probeTokens);
}
