namespace KvPrune.AI.Tokenization;

/// <summary>
/// Merges the symbols of one piece in time n log n. The library takes n² (half a minute for 300,000 letters in a row),
/// so that a single message could keep a server busy, and merges SentencePiece's characters in another order.
/// </summary>
internal sealed class BytePairMerger
{
    private readonly Dictionary<(int Left, int Right), (int Rank, int Id)> _merges;

    public BytePairMerger(BytePairModel model)
    {
        _merges = new(model.Merges.Count);
        foreach ((string left, string right) in model.Merges)
            _merges.Add((model.Vocabulary[left], model.Vocabulary[right]), (_merges.Count, model.Vocabulary[left + right]));
    }

    /// <param name="symbols">Ids of the bytes or characters; overwritten.</param>
    /// <param name="ids">Receives the ids that are left.</param>
    public void Merge(int[] symbols, List<int> ids)
    {
        var parts = new Parts(symbols);
        // The earliest merge first, and of equal ones the leftmost.
        var queue = new PriorityQueue<(int Left, int Right, int LeftId, int RightId), (int Rank, int Position)>();
        for (int i = 0; i + 1 < symbols.Length; i++)
            Offer(queue, parts, i, i + 1);

        while (queue.TryDequeue(out (int Left, int Right, int LeftId, int RightId) pair, out _))
        {
            // An earlier merge may have taken one of the two, which then has another id or none.
            if (parts.Id[pair.Left] != pair.LeftId
                || parts.Id[pair.Right] != pair.RightId
                || parts.Next[pair.Left] != pair.Right)
            {
                continue;
            }

            parts.Merge(pair.Left, pair.Right, _merges[(pair.LeftId, pair.RightId)].Id);
            if (parts.Previous[pair.Left] >= 0)
                Offer(queue, parts, parts.Previous[pair.Left], pair.Left);
            if (parts.Next[pair.Left] < symbols.Length)
                Offer(queue, parts, pair.Left, parts.Next[pair.Left]);
        }

        for (int i = 0; i < symbols.Length; i = parts.Next[i])
            ids.Add(parts.Id[i]);
    }

    private void Offer(
        PriorityQueue<(int Left, int Right, int LeftId, int RightId), (int Rank, int Position)> queue,
        Parts parts,
        int left,
        int right)
    {
        if (_merges.TryGetValue((parts.Id[left], parts.Id[right]), out (int Rank, int Id) merge))
            queue.Enqueue((left, right, parts.Id[left], parts.Id[right]), (merge.Rank, left));
    }

    /// <summary>The tokens so far as a doubly linked list over the places of the symbols they start with.</summary>
    private sealed class Parts
    {
        private const int Gone = -1;

        public Parts(int[] ids)
        {
            Id = ids;
            Next = [.. Enumerable.Range(1, ids.Length)];
            Previous = [.. Enumerable.Range(-1, ids.Length)];
        }

        public int[] Id { get; }

        public int[] Next { get; }

        public int[] Previous { get; }

        public void Merge(int left, int right, int id)
        {
            Id[left] = id;
            Id[right] = Gone;
            Next[left] = Next[right];
            if (Next[right] < Id.Length)
                Previous[Next[right]] = left;
        }
    }
}
