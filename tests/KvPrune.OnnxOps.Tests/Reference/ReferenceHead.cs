using KvPrune.OnnxOps.Tests.Graphs;

namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>One KV head of a sequence under a policy, in double precision: sealed rows, then the dense tail.</summary>
internal sealed class ReferenceHead(AttentionShape shape, PruningPolicy policy)
{
    private const int Tile = 64;
    private readonly List<(ReferenceRow Key, ReferenceRow Value)> _rows = [];
    private int _sealed;

    /// <summary>All rows, oldest first, as attention reads them.</summary>
    public IReadOnlyList<(ReferenceRow Key, ReferenceRow Value)> Rows => _rows;

    /// <summary>A prompt's rows are dense float32 until the segment ends.</summary>
    public void AddPrompt(double[] key, double[] value) =>
        _rows.Add((ReferenceRow.Dense(key, KvStorage.Float32), ReferenceRow.Dense(value, KvStorage.Float32)));

    public void AddGenerated(double[] key, double[] value) => _rows.Add(ToTail(key, value));

    /// <summary>Compresses what has left the recent window, by whole tiles; the rest becomes the tail.</summary>
    /// <param name="observed">
    /// Rotated queries of the group that score channels; null for generated tokens, which keep every channel.
    /// </param>
    public void Seal(IReadOnlyList<double[]>? observed)
    {
        var count = Math.Max(0, _rows.Count - _sealed - policy.RecentWindow) / Tile * Tile;
        int[] all = [.. Enumerable.Range(0, shape.HeadSize)];
        var channels = observed is null || count == 0 ? all : ThinkChannels(observed, _rows.GetRange(_sealed, count));
        for (var end = _sealed + count; _sealed < end; _sealed += Tile)
            SealTile(channels, all);

        if (observed is null)
            return;
        for (var i = _sealed; i < _rows.Count; i++)
            _rows[i] = ToTail(_rows[i].Key.Stored, _rows[i].Value.Stored);
    }

    private void SealTile(int[] channels, int[] all)
    {
        var tile = _rows.GetRange(_sealed, Tile);
        var keys = tile.Select(row =>
            ReferenceRow.Pruned(row.Key.Stored, channels, policy.KeySparsity, policy.KeyStorage)).ToArray();
        if (policy.KeyStorage == KvStorage.Int4 && ReferenceRow.Kept(channels.Length, policy.KeySparsity) == channels.Length)
            keys = ReferenceInt4.Keys(keys, channels);
        var values = tile.Select(row =>
            ReferenceRow.Pruned(row.Value.Stored, all, policy.ValueSparsity, policy.ValueStorage)).ToArray();
        if (policy.ValueStorage == KvStorage.Int4 && ReferenceRow.Kept(all.Length, policy.ValueSparsity) == all.Length)
            values = Array.ConvertAll(values, ReferenceInt4.Value);
        for (var i = 0; i < Tile; i++)
            _rows[_sealed + i] = (keys[i], values[i]);
    }

    /// <summary>
    /// softmax(cap(q·Kᵀ/√D))·V over the newest rows that the window holds; <paramref name="sink"/> is a logit of its own,
    /// −∞ for none.
    /// </summary>
    public double[] Attend(double[] query, double sink)
    {
        var seen = shape.Window > 0 ? _rows[Math.Max(0, _rows.Count - shape.Window)..] : _rows;
        var weights = new double[seen.Count];
        var most = sink;
        var scaled = Array.ConvertAll(query, x => x / Math.Sqrt(shape.HeadSize));
        for (var t = 0; t < weights.Length; t++)
        {
            var key = seen[t].Key.Stored;
            for (var j = 0; j < key.Length; j++)
                weights[t] += scaled[j] * key[j];
            if (shape.Softcap > 0)
                weights[t] = shape.Softcap * Math.Tanh(weights[t] / shape.Softcap);
            most = Math.Max(most, weights[t]);
        }

        var total = Math.Exp(sink - most);
        var output = new double[shape.HeadSize];
        for (var t = 0; t < weights.Length; t++)
        {
            var weight = Math.Exp(weights[t] - most);
            total += weight;
            var value = seen[t].Value.Stored;
            for (var j = 0; j < output.Length; j++)
                output[j] += weight * value[j];
        }

        return Array.ConvertAll(output, x => x / total);
    }

    // ThinK, arXiv 2407.21018: mean squared query times mean squared key, over the keys that will be pruned.
    private int[] ThinkChannels(IReadOnlyList<double[]> observed, List<(ReferenceRow Key, ReferenceRow Value)> leaving)
    {
        var removed = (int)Math.Floor((policy.KeyChannelSparsity * shape.HeadSize) + 1e-4);
        double Score(int j) =>
            observed.Average(query => query[j] * query[j]) * leaving.Average(row => row.Key.Stored[j] * row.Key.Stored[j]);
        return [.. Enumerable.Range(0, shape.HeadSize).OrderBy(Score).Skip(removed).Order()];
    }

    private (ReferenceRow Key, ReferenceRow Value) ToTail(double[] key, double[] value) =>
        (ReferenceRow.Dense(key, Tail(policy.KeyStorage)), ReferenceRow.Dense(value, Tail(policy.ValueStorage)));

    private static KvStorage Tail(KvStorage storage) =>
        storage is KvStorage.Float32 or KvStorage.Float16 ? storage : KvStorage.BFloat16;
}
