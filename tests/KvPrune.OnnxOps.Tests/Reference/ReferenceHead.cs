using System.Numerics.Tensors;
using KvPrune.OnnxOps.Tests.Graphs;

namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>One KV head of a layer under a policy, in double precision: a row per token, sealed ones first.</summary>
internal sealed class ReferenceHead(AttentionShape shape, PruningPolicy policy, LayerSparsity sparsity, double[][]? gram)
{
    private const int Tile = 64;
    private readonly List<ReferenceToken> _rows = [];
    private readonly List<double> _probed = [];
    // What ranks each row while decoding, and which of the sealed ones it can share tiles with.
    private readonly List<(double Mass, int Seen, int Group)> _scores = [];
    private int _sealed;
    private int _prompts;
    private bool _generates;

    /// <summary>All tokens, the oldest first, as attention reads them; those of evicted ones are 0.</summary>
    public IReadOnlyList<ReferenceToken> Rows => _rows;

    /// <summary>First and count of the rows that leave the recent window in whole tiles.</summary>
    public (int First, int Count) Leaving => (_sealed, Math.Max(0, _rows.Count - _sealed - policy.RecentWindow) / Tile * Tile);

    /// <summary>How many tokens have left the tail, and how many of their rows are there.</summary>
    public (int Tokens, int Rows) Sealed => (_sealed, _rows.Take(_sealed).Count(row => row.IsKept));

    /// <summary>A prompt's rows are dense float32 until the segment ends.</summary>
    public void AddPrompt(double[] key, double[] value)
    {
        _rows.Add(new(ReferenceRow.Dense(key, KvStorage.Float32), ReferenceRow.Dense(value, KvStorage.Float32)));
        _scores.Add(default);
        _generates = false;
    }

    /// <summary>The row of a generated token, whose queries see it first.</summary>
    public void AddGenerated(double[] key, double[] value)
    {
        _rows.Add(ToTail(key, value));
        _scores.Add(default);
        _generates = true;
        for (var t = shape.Window > 0 ? Math.Max(0, _rows.Count - shape.Window) : 0; t < _rows.Count; t++)
            _scores[t] = _scores[t] with { Seen = _scores[t].Seen + 1 };
    }

    /// <summary>What the scores at a segment's end are made from.</summary>
    public ReferencePrompt Prompt(double[][][] rotated, double[][][] raw, double[] sinks) => new(
        shape, SeenKeys(), [.. _rows.Select(row => row.IsKept ? row.Value.Stored : null)], Leaving, rotated, raw,
        _rows.Count - rotated[0].Length, sinks, gram, [.. _probed, .. new double[_rows.Count - _probed.Count]]);

    /// <summary>Attention of a query of a probe step after the prompt, whose own keys come last.</summary>
    public void Probe(double[] query, IReadOnlyList<double[]> probeKeys, double sink)
    {
        while (_probed.Count < _rows.Count)
            _probed.Add(0);
        var keys = SeenKeys();
        keys.AddRange(probeKeys);
        var weights = ReferenceAttention.Weights(shape, query, keys.Count - 1, keys, sink);
        for (var t = 0; t < _probed.Count; t++)
            _probed[t] = Math.Max(_probed[t], weights[t]);
    }

    /// <summary>Compresses the leaving rows that are kept and evicts the others; the rest becomes the tail.</summary>
    public void SealPrompt(ReferencePrompt prompt, bool[] kept)
    {
        var (first, count) = prompt.Leaving;
        AddScores(prompt, first, count);
        int[] survivors = [.. prompt.LeavingRows.Where(t => kept[t - first])];
        var window = policy.ObservationWindow;
        if (survivors.Length > 0)
        {
            var mass = policy.ValueScore == ValueScore.Attention ? prompt.AttentionMass(prompt.Observed(window)) : [];
            var weights = KeyWeights(prompt);
            SealTiles(
                survivors,
                ReferenceChannels.Keys(prompt, survivors, sparsity.KeyChannelSparsity!.Value, window),
                ReferenceChannels.Values(prompt, survivors, sparsity.ValueChannelSparsity!.Value, window),
                weights is null ? null : j => weights[j],
                policy.ValueScore == ValueScore.Attention ? t => mass[t] : null);
        }

        foreach (var t in prompt.LeavingRows.Except(survivors))
            _rows[t] = _rows[t].Evicted();
        _sealed = first + count;
        _probed.Clear();
        for (var i = _sealed; i < _rows.Count; i++)
            _rows[i] = ToTail(_rows[i].Key.Stored, _rows[i].Value.Stored);
    }

    /// <summary>Generated rows keep every channel and, but for the output's weights, rank by magnitude.</summary>
    public void SealGenerated()
    {
        var (first, count) = Leaving;
        for (var t = first; t < first + count; t++)
            _scores[t] = _scores[t] with { Group = RemovesChannels ? (2 * _prompts) + 1 : 0 };
        int[] all = [.. Enumerable.Range(0, shape.HeadSize)];
        SealTiles([.. Enumerable.Range(first, count)], all, all, null, null);
        _sealed = first + count;
    }

    /// <summary>softmax(cap(q·Kᵀ/√D))·V of the newest token over what it sees.</summary>
    public double[] Attend(double[] query, double sink)
    {
        var weights = ReferenceAttention.Weights(shape, query, _rows.Count - 1, SeenKeys(), sink);
        var output = new double[shape.HeadSize];
        for (var t = 0; t < weights.Length; t++)
        {
            if (_generates)
                _scores[t] = _scores[t] with { Mass = _scores[t].Mass + weights[t] };
            TensorPrimitives.MultiplyAdd(_rows[t].Value.Stored, weights[t], output, output);
        }

        return output;
    }

    /// <summary>The mean attention of the queries that saw the row, or its recency.</summary>
    public double Score(int token) => policy.Eviction!.Score == TokenScore.Recency ? token
        : _scores[token].Seen == 0 ? 0 : _scores[token].Mass / _scores[token].Seen;

    /// <summary>
    /// That many times 64 sealed rows to evict, each time the worst of those that can share tiles with each other: where their
    /// scores have the lowest sum.
    /// </summary>
    public int[] Worst(int units)
    {
        List<int> dropped = [];
        for (var unit = 0; unit < units; unit++)
        {
            var worst = Enumerable.Range(0, _sealed).Where(t => _rows[t].IsKept && !dropped.Contains(t))
                .GroupBy(t => _scores[t].Group)
                .SelectMany(rows => Units([.. rows]))
                .Where(rows => rows.Length == Tile)
                .MinBy(rows => rows.Sum(Score));
            dropped.AddRange(worst ?? []);
        }

        return [.. dropped];
    }

    public void Evict(IEnumerable<int> tokens)
    {
        foreach (var t in tokens)
            _rows[t] = _rows[t].Evicted();
    }

    // What of the rows of a group could go at once: the 64 worst, or a tile as it is where rows mean less in another one. The
    // later one of equals comes first.
    private IEnumerable<int[]> Units(int[] rows)
    {
        bool IsSink(int t) => t < policy.Eviction!.SinkTokens;
        return RowsCanMove ? [[.. rows.Where(t => !IsSink(t)).OrderBy(Score).ThenByDescending(t => t).Take(Tile)]]
            : rows.Chunk(Tile).Where(tile => !tile.Any(IsSink)).Reverse();
    }

    private bool RemovesChannels => sparsity is { KeyChannelSparsity: > 0 } or { ValueChannelSparsity: > 0 };

    // Not where tokens share scales, or elements of different tokens compete.
    private bool RowsCanMove =>
        !(policy.KeyStorage == KvStorage.Int4 && sparsity.KeySparsity == 0) &&
        !(policy.KeyPattern == SparsityPattern.PerChannel && sparsity.KeySparsity > 0) &&
        !(policy.ValuePattern == SparsityPattern.PerChannel && sparsity.ValueSparsity > 0);

    // The segment's queries count for the rows that were dense when it ended.
    private void AddScores(ReferencePrompt prompt, int first, int count)
    {
        if (count > 0)
            _prompts++;
        if (policy.Eviction is not { WhileDecoding: true })
            return;
        var mass = prompt.AttentionMass(prompt.Observed(prompt.SegmentTokens));
        var window = shape.Window > 0 ? shape.Window : int.MaxValue;
        for (var t = first; t < _rows.Count; t++)
        {
            var seen = Enumerable.Range(prompt.FirstQuery, prompt.SegmentTokens).Count(query => query >= t && query - t < window);
            var group = RemovesChannels && t < first + count ? 2 * _prompts : 0;
            _scores[t] = new(_scores[t].Mass + mass[t], _scores[t].Seen + seen, group);
        }
    }

    private List<double[]?> SeenKeys() => [.. _rows.Select(row => row.IsKept ? row.Key.Stored : null)];

    // Σ over the group of the mean |q_j|, or the root of the mean q_j² of all; null: magnitude alone.
    private double[]? KeyWeights(ReferencePrompt prompt)
    {
        var heads = prompt.Observed(policy.ObservationWindow).GroupBy(query => query.Head, query => query.Query).ToArray();
        double[] Of(Func<int, double> weight) => [.. Enumerable.Range(0, shape.HeadSize).Select(weight)];
        return policy.KeyScore switch
        {
            KeyScore.QueryMagnitude => Of(j => heads.Sum(queries => queries.Average(query => Math.Abs(query[j])))),
            KeyScore.QueryRms => Of(j => Math.Sqrt(heads.SelectMany(queries => queries).Average(query => query[j] * query[j]))),
            _ => null,
        };
    }

    private void SealTiles(
        int[] rows, int[] keyChannels, int[] valueChannels, Func<int, double>? keyWeight, Func<int, double>? attention)
    {
        var outputWeight = policy.ValueScore == ValueScore.OutputWeight ? (int j) => Math.Sqrt(gram![j][j]) : (Func<int, double>?)null;
        foreach (var tile in rows.Chunk(Tile))
        {
            var keys = Half(
                [.. tile.Select(t => _rows[t].Key.Stored)], keyChannels, policy.KeyStorage, policy.KeyPattern,
                sparsity.KeySparsity!.Value, keyWeight);
            if (policy.KeyStorage == KvStorage.Int4 && !IsSparse(policy.KeyPattern, keyChannels.Length, sparsity.KeySparsity.Value))
                keys = ReferenceInt4.Keys(keys, keyChannels);
            var values = Half(
                [.. tile.Select(t => _rows[t].Value.Stored)], valueChannels, policy.ValueStorage, policy.ValuePattern,
                sparsity.ValueSparsity!.Value, attention is null ? outputWeight : i => attention(tile[i]));
            if (policy.ValueStorage == KvStorage.Int4 && !IsSparse(policy.ValuePattern, valueChannels.Length, sparsity.ValueSparsity.Value))
                values = Array.ConvertAll(values, row => ReferenceInt4.Value(row, valueChannels));
            for (var i = 0; i < tile.Length; i++)
                _rows[tile[i]] = new(keys[i], values[i]);
        }
    }

    private static bool IsSparse(SparsityPattern pattern, int channels, double fraction)
    {
        var width = pattern == SparsityPattern.PerToken ? channels : ReferenceElements.GroupTokens;
        return ReferenceElements.Kept(width, fraction) < width;
    }

    // Plain magnitudes are ranked as the storage rounds them, products with weights before they are rounded.
    private static ReferenceRow[] Half(
        double[][] rows, int[] channels, KvStorage storage, SparsityPattern pattern, double fraction, Func<int, double>? weight)
    {
        var ranked = weight is null && pattern == SparsityPattern.PerToken
            ? Array.ConvertAll(rows, row => ReferenceRow.Dense(row, storage).Stored) : rows;
        weight ??= _ => 1;
        var sparse = IsSparse(pattern, channels.Length, fraction);
        if (!sparse)
            return [.. rows.Select(row => ReferenceRow.Pruned(row, ReferenceElements.All(row.Length, channels), storage, sparse))];
        var marks = pattern == SparsityPattern.PerToken
            ? ReferenceElements.PerToken(ranked, channels, fraction, weight)
            : ReferenceElements.PerChannel(ranked, channels, fraction, weight);
        return [.. rows.Zip(marks, (row, mark) => ReferenceRow.Pruned(row, mark, storage, sparse))];
    }

    private ReferenceToken ToTail(double[] key, double[] value) =>
        new(ReferenceRow.Dense(key, Tail(policy.KeyStorage)), ReferenceRow.Dense(value, Tail(policy.ValueStorage)));

    private static KvStorage Tail(KvStorage storage) =>
        storage is KvStorage.Float32 or KvStorage.Float16 ? storage : KvStorage.BFloat16;
}
