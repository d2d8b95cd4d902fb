using KvPrune.OnnxOps;

namespace KvPrune.AI.Engine;

/// <summary>The most recently used prompts' KV caches. A handful, so lookups compare them one by one.</summary>
internal sealed class PrefixCache(int capacity)
{
    private readonly LinkedList<CachedPrompt> _entries = new(); // most recently used first

    public int Count => _entries.Count;

    /// <summary>The longest cached prompt that the request begins with.</summary>
    public CachedPrompt? Find(GenerationRequest request)
    {
        CachedPrompt? best = _entries
            .Where(entry => entry.IsPrefixOf(request.Prompt, request.SegmentEnds, request.Policy))
            .MaxBy(entry => entry.Tokens.Length);
        if (best is not null)
        {
            _entries.Remove(best);
            _entries.AddFirst(best);
        }
        return best;
    }

    public bool Contains(ReadOnlySpan<int> tokens, ReadOnlySpan<int> segmentEnds, PruningPolicy policy)
    {
        foreach (CachedPrompt entry in _entries)
        {
            if (entry.Tokens.Length == tokens.Length && entry.IsPrefixOf(tokens, segmentEnds, policy)) return true;
        }
        return false;
    }

    /// <summary>Takes over the entry's sequence.</summary>
    public void Add(CachedPrompt entry)
    {
        _entries.AddFirst(entry);
        while (_entries.Count > capacity) EvictOldest(keep: null);
    }

    /// <summary>Drops the least recently used entry other than <paramref name="keep"/>; false if there is none.</summary>
    public bool EvictOldest(CachedPrompt? keep)
    {
        CachedPrompt? oldest = _entries.LastOrDefault(entry => entry != keep);
        if (oldest is null) return false;
        _entries.Remove(oldest);
        oldest.Sequence.Dispose();
        return true;
    }

    public void Clear()
    {
        while (EvictOldest(keep: null)) { }
    }
}
