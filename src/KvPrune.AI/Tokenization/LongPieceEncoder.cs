using System.Text;

namespace KvPrune.AI.Tokenization;

/// <summary>
/// Byte-pair encoding of one long piece, in time n log n: the library's takes n² (half a minute for 300,000 letters in
/// a row), so that a single message could keep a server busy.
/// </summary>
internal sealed class LongPieceEncoder
{
    private readonly int[] _idOfByte = new int[256];
    private readonly Dictionary<(int Left, int Right), (int Rank, int Id)> _merges = [];

    public LongPieceEncoder(TokenizerFile file)
    {
        for (int value = 0; value < 256; value++)
            _idOfByte[value] = file.Vocabulary[ByteAlphabet.ToChar((byte)value).ToString()];
        for (int rank = 0; rank < file.Merges.Count; rank++)
        {
            string[] parts = file.Merges[rank].Split(' ');
            _merges.Add(
                (file.Vocabulary[parts[0]], file.Vocabulary[parts[1]]), (rank, file.Vocabulary[parts[0] + parts[1]]));
        }
    }

    public void Encode(ReadOnlySpan<char> piece, List<int> ids)
    {
        var bytes = new byte[Encoding.UTF8.GetByteCount(piece)];
        Encoding.UTF8.GetBytes(piece, bytes);
        var parts = new Parts(Array.ConvertAll(bytes, value => _idOfByte[value]));
        // The earliest merge first, and of equal ones the leftmost.
        var queue = new PriorityQueue<(int Left, int Right, int LeftId, int RightId), (int Rank, int Position)>();
        for (int i = 0; i + 1 < bytes.Length; i++)
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
            if (parts.Next[pair.Left] < bytes.Length)
                Offer(queue, parts, pair.Left, parts.Next[pair.Left]);
        }

        for (int i = 0; i < bytes.Length; i = parts.Next[i])
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

    /// <summary>The tokens so far as a doubly linked list over the byte positions they start at.</summary>
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
