using KvPrune.OnnxOps.Tests.Graphs;
using KvPrune.OnnxOps.Tests.Reference;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>
/// A sequence in the operator and in the reference side by side: the same outputs, and after each part the same tokens and
/// rows.
/// </summary>
internal sealed class ComparedSequence : IDisposable
{
    // Relative. Logits are float32 sums of 64 products: of up to some 50 they are off by this much, and so is e^logit.
    private const double ScoreTolerance = 5e-5;

    private readonly PrunedAttentionModel _model;
    private readonly PruningPolicy _policy;
    private readonly ReferenceSequence[] _layers;
    private readonly double _tolerance;
    private readonly string _what;
    private KvSequence _sequence;

    /// <param name="model">With the Gram matrices.</param>
    /// <param name="grams">Of each layer's output projection.</param>
    /// <param name="policy">What is kept.</param>
    /// <param name="tolerance">Of outputs, relative to the largest of a row.</param>
    /// <param name="what">What a failure is about, besides.</param>
    public ComparedSequence(PrunedAttentionModel model, float[][] grams, PruningPolicy policy, double tolerance, string what)
    {
        (_model, _policy, _tolerance, _what) = (model, policy, tolerance, $"{what}, {policy}");
        _layers = [.. grams.Select((gram, layer) => new ReferenceSequence(model.Shape, policy, layer, gram))];
        _sequence = model.Manager.CreateSequence(policy);
    }

    /// <summary>Leaving rows of all layers and heads so far, where some were evicted.</summary>
    public int Ranked { get; private set; }

    /// <summary>Of these, those that one side keeps and the other does not, for a tie of their scores.</summary>
    public int Tied { get; private set; }

    /// <summary>A segment in two steps.</summary>
    /// <param name="rows">Its rows.</param>
    /// <param name="probes">Rows of probe steps after it.</param>
    /// <param name="announced">The policies of a deferred segment; null: it is sealed as it is read.</param>
    /// <param name="known">The outputs, where they are known; null: they are the reference's.</param>
    public void Prompt(LayerRows rows, LayerRows[] probes, PruningPolicy[]? announced, float[][]? known = null)
    {
        var where = $"prompt after {_sequence.Length}";
        if (announced is not null)
            _sequence.OpenDeferredSegment(rows.Count, announced, probes.Select(probe => probe.Count).DefaultIfEmpty(0).Max());
        else
            _sequence.OpenSegment(rows.Count);
        float[][] expected = known ?? [.. _layers.Zip(rows.Layers, (layer, own) => layer.Read(own))];
        for (var layer = 0; known is not null && layer < _layers.Length; layer++)
            _layers[layer].Add(rows.Layers[layer]);
        foreach (var chunk in new[] { ..(rows.Count / 3), (rows.Count / 3).. })
        {
            if (rows[chunk].Count > 0)
                Same(expected, Step(rows[chunk]), chunk.Start.Value, where);
        }

        foreach (var probe in probes)
            Step(probe, KvStep.BeginProbe);
        if (announced is not null)
        {
            var sealedSequence = _sequence.SealAs(_policy);
            _sequence.Dispose();
            _sequence = sealedSequence;
        }

        ReferenceSequence.Seal(_layers, rows, probes, Settle);
        SameRows(where);
    }

    /// <summary>Token after token.</summary>
    public void Decode(LayerRows rows)
    {
        for (var i = 0; i < rows.Count; i++)
        {
            var token = rows[i..(i + 1)];
            var where = $"token {_sequence.Length}";
            var actual = Step(token);
            float[][] expected = [.. _layers.Select((layer, l) =>
                layer.Decode(token.Layers[l], (head, worst) => Settle(l, head, worst, where)))];
            Same(expected, actual, 0, where);
        }

        SameRows($"decoded to {_sequence.Length}");
    }

    public void Dispose() => _sequence.Dispose();

    private float[][] Step(LayerRows rows, Func<KvSequence, int, KvStep>? begin = null)
    {
        using var step = (begin ?? KvStep.Begin)(_sequence, rows.Count);
        var outputs = _model.Run(_sequence, rows);
        step.Commit();
        return outputs;
    }

    private void Same(float[][] expected, float[][] actual, int token, string where)
    {
        foreach (var (layer, output) in actual.Index())
        {
            var part = expected[layer].AsSpan(token * _model.Shape.QueryWidth, output.Length);
            Close.Rows(part, output, _model.Shape.HeadSize, _tolerance, $"{_what}, {where}, layer {layer}");
        }
    }

    // Where scores tie, the reference goes on with the tokens that the cache kept.
    private bool[] Settle(int layer, int head, ReferenceChoice choice)
    {
        var leaving = _layers[layer].Heads[head].Leaving;
        var kept = _sequence.ReadKept(layer, head).AsSpan(leaving.First, leaving.Count).ToArray();
        var what = $"{_what}, layer {layer}, head {head}";
        Assert.True(
            kept.Count(isKept => isKept) == choice.Kept.Count(isKept => isKept),
            $"{what}: {kept.Count(isKept => isKept)} in place of {choice.Kept.Count(isKept => isKept)} tokens are kept");
        if (kept.Contains(false))
            Ranked += kept.Length;
        for (var row = 0; row < kept.Length; row++)
        {
            if (kept[row] == choice.Kept[row])
                continue;
            Tied++;
            Assert.True(
                choice.Distance(row) <= ScoreTolerance,
                $"{what}: row {row} of {kept.Length} is {(kept[row] ? "kept" : "evicted")}, {choice.Distance(row):g3} off the border");
        }

        return kept;
    }

    // The same of rows that are evicted while decoding.
    private int[] Settle(int layer, int head, int[] worst, string where)
    {
        var reference = _layers[layer].Heads[head];
        var kept = _sequence.ReadKept(layer, head);
        int[] gone = [.. Enumerable.Range(0, reference.Sealed.Tokens).Where(t => reference.Rows[t].IsKept && !kept[t])];
        if (worst.Length > 0)
            Ranked += reference.Sealed.Rows;
        double[] own = [.. gone.Except(worst).Select(reference.Score).Order()];
        double[] others = [.. worst.Except(gone).Select(reference.Score).Order()];
        Tied += own.Length + others.Length;
        Assert.True(
            gone.Length == worst.Length && own.Zip(others).All(pair => Math.Abs(pair.First - pair.Second) <= ScoreTolerance * pair.Second),
            $"{_what}, {where}, layer {layer}, head {head}: {string.Join(' ', gone.Except(worst))} are evicted in place of "
            + string.Join(' ', worst.Except(gone)));
        return gone;
    }

    private void SameRows(string where)
    {
        foreach (var (layer, reference) in _layers.Index())
        {
            foreach (var (head, expected) in reference.Heads.Index())
            {
                bool[] kept = [.. expected.Rows.Select(row => row.IsKept)];
                Assert.Equal(kept, _sequence.ReadKept(layer, head));
                StoredRows.AreThoseOf(expected, _model, _sequence, layer, head, $"{_what}, {where}");
            }
        }
    }
}
