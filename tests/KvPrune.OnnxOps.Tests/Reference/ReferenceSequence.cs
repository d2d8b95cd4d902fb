using KvPrune.OnnxOps.Tests.Graphs;
using KvPrune.OnnxOps.Tests.Ops;

namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>One layer's attention over one sequence under a policy, in double precision and written for clarity.</summary>
internal sealed class ReferenceSequence
{
    private readonly AttentionShape _shape;
    private readonly PruningPolicy _policy;
    private readonly ReferenceHead[] _heads;
    private readonly (float[] Cosine, float[] Sine) _rotary;
    private readonly double[] _sinks;
    private int _length;

    public ReferenceSequence(AttentionShape shape, PruningPolicy policy)
    {
        _shape = shape;
        _policy = policy;
        _heads = [.. Enumerable.Range(0, shape.KvHeads).Select(_ => new ReferenceHead(shape, policy))];
        _rotary = shape.RotaryCaches();
        _sinks = shape.HeadSink ? Array.ConvertAll(shape.HeadSinks(), sink => (double)sink)
            : [.. Enumerable.Repeat(shape.SmoothSoftmax ? 0 : double.NegativeInfinity, shape.QueryHeads)];
    }

    public IReadOnlyList<ReferenceHead> Heads => _heads;

    /// <summary>A segment: causal attention over the past and the segment, then compression.</summary>
    public float[] Prompt(TokenRows rows)
    {
        var output = new List<float>();
        var observed = _heads.Select(_ => new List<double[]>()).ToArray();
        for (var token = 0; token < rows.Count; token++)
        {
            var queries = Queries(rows, token);
            output.AddRange(Attend(rows, token, queries, (head, key, value) => head.AddPrompt(key, value)));
            if (token < rows.Count - _policy.ObservationWindow)
                continue;
            for (var head = 0; head < queries.Length; head++)
                observed[head / Group].Add(queries[head]);
        }

        foreach (var (head, queries) in _heads.Zip(observed))
            head.Seal(queries);
        return [.. output];
    }

    /// <summary>Token after token, each compressed on when it completes a tile outside the window.</summary>
    public float[] Decode(TokenRows rows)
    {
        var output = new List<float>();
        for (var token = 0; token < rows.Count; token++)
        {
            output.AddRange(Attend(rows, token, Queries(rows, token), (head, key, value) => head.AddGenerated(key, value)));
            foreach (var head in _heads)
                head.Seal(observed: null);
        }

        return [.. output];
    }

    private int Group => _shape.QueryHeads / _shape.KvHeads;

    private double[][] Queries(TokenRows rows, int token) =>
        [.. Enumerable.Range(0, _shape.QueryHeads).Select(head => Rotated(Slice(rows.Query, token, head, _shape.QueryHeads)))];

    private IEnumerable<float> Attend(
        TokenRows rows, int token, double[][] queries, Action<ReferenceHead, double[], double[]> add)
    {
        for (var head = 0; head < _heads.Length; head++)
        {
            add(
                _heads[head],
                Rotated(Slice(rows.Key, token, head, _shape.KvHeads)),
                Slice(rows.Value, token, head, _shape.KvHeads));
        }

        _length++;
        return queries.SelectMany((query, head) => _heads[head / Group].Attend(query, _sinks[head])).Select(x => (float)x);
    }

    private double[] Slice(float[] rows, int token, int head, int heads) =>
        Array.ConvertAll(
            rows.AsSpan(((token * heads) + head) * _shape.HeadSize, _shape.HeadSize).ToArray(), x => (double)x);

    // Of the first RotarySize channels, j turns with j + RotarySize/2, or 2j with 2j + 1.
    private double[] Rotated(double[] row)
    {
        if (!_shape.Rotary)
            return row;
        var half = _shape.RotarySize / 2;
        var turned = (double[])row.Clone();
        for (var j = 0; j < half; j++)
        {
            double cosine = _rotary.Cosine[(_length * half) + j], sine = _rotary.Sine[(_length * half) + j];
            var (first, second) = _shape.Interleaved ? (2 * j, (2 * j) + 1) : (j, j + half);
            turned[first] = (row[first] * cosine) - (row[second] * sine);
            turned[second] = (row[second] * cosine) + (row[first] * sine);
        }

        return turned;
    }
}
