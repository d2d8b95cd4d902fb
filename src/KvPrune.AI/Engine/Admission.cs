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
    /// <exception cref="KvBudgetExceededException">They exceed the limit.</exception>
    public long PeakBytes(GenerationRequest request, int outputTokens)
    {
        if (settings.KvCacheByteLimit is not { } limit) return 0;
        // While segment i is read, the earlier ones are compressed already. Each end leaves a checkpoint with a dense tail
        // of its own, which is all that an empty sequence takes.
        int start = 0;
        long peak = 0, resident = 0;
        long checkpoints = Estimate(request.Policy, 0, 0).ResidentBytes * (request.SegmentEnds.Length - 1);
        foreach (int end in request.SegmentEnds)
        {
            peak = Math.Max(peak, resident + Estimate(request.Policy, end - start, 0).PrefillPeakBytes);
            resident = Estimate(request.Policy, end, 0).ResidentBytes;
            start = end;
        }
        // The last token drawn is never fed.
        peak = Math.Max(peak, Estimate(request.Policy, start, outputTokens - 1).ResidentBytes) + checkpoints;
        if (peak > limit) throw new KvBudgetExceededException(peak, limit, request.Prompt.Length, outputTokens);
        return peak;
    }

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

    private KvBytesEstimate Estimate(PruningPolicy policy, int promptTokens, int generatedTokens) =>
        runtime.EstimateBytes(policy, promptTokens, generatedTokens, settings.PrefillChunkTokens);
}
