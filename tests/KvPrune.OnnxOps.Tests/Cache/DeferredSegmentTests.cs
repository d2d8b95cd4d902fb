using KvPrune.OnnxOps.Tests.Graphs;
using KvPrune.OnnxOps.Tests.Ops;

namespace KvPrune.OnnxOps.Tests.Cache;

public sealed class DeferredSegmentTests : IDisposable
{
    private static readonly AttentionShape Shape = new(4, 2, 32, Rotary: true, Layers: 2);
    private static readonly PruningPolicy[] Policies = [.. PruningPolicy.Presets.Values.Where(preset => !preset.NeedsProbes)];

    private readonly PrunedAttentionModel _model = new(Shape);
    private readonly TokenRows _rows = TokenRows.Random(Shape, 500, seed: 1);

    public static TheoryData<string, int> PresetsAndLengths
    {
        get
        {
            var data = new TheoryData<string, int>();
            foreach (var (preset, _) in PruningPolicy.Presets.Where(preset => !preset.Value.NeedsProbes))
            {
                foreach (var tokens in new[] { 20, 96, 300 })
                    data.Add(preset, tokens);
            }

            return data;
        }
    }

    public void Dispose() => _model.Dispose();

    [Theory]
    [MemberData(nameof(PresetsAndLengths))]
    public void Sealed_later_a_prompt_is_as_if_read_under_the_policy(string preset, int tokens)
    {
        var policy = PruningPolicy.FromName(preset);
        using var source = Create(PruningPolicy.Exact);
        ReadDeferred(source, _rows[..tokens], 64);
        using var direct = Create(policy);
        int[] chunks = [.. Enumerable.Range(0, (tokens + 63) / 64).Select(i => Math.Min(64, tokens - (64 * i)))];
        _model.Prompt(direct, _rows[..tokens], chunks);
        using var later = source.SealAs(policy);

        Assert.Equal(policy, later.Policy);
        Assert.Equal(direct.GetInfo(), later.GetInfo());
        AssertSameRows(direct, later);
        Assert.Equal(_model.Decode(direct, _rows[tokens..(tokens + 70)]), _model.Decode(later, _rows[tokens..(tokens + 70)]));
        later.Rewind(tokens);
        Assert.Equal(tokens, later.Length);
    }

    [Fact]
    public void One_decode_batch_mixes_policies()
    {
        using var source = Create(PruningPolicy.Exact);
        ReadDeferred(source, _rows[..200], 200);
        KvSequence[] alone = [.. Policies.Select(source.SealAs)];
        KvSequence[] together = [.. Policies.Select(source.SealAs)];
        for (var token = 200; token < 240; token++)
        {
            using var step = KvStep.Begin(together, 1);
            TokenRows[] copies = [.. Enumerable.Repeat(_rows[token..(token + 1)], together.Length)];
            var batch = new TokenRows(
                Shape,
                copies.Length,
                [.. copies.SelectMany(r => r.Query)],
                [.. copies.SelectMany(r => r.Key)],
                [.. copies.SelectMany(r => r.Value)]);
            var outputs = _model.Run(
                Array.ConvertAll(together, s => s.Handle), [.. Enumerable.Repeat(token, together.Length)], batch)[0];
            step.Commit();
            Assert.Equal([.. alone.SelectMany(s => _model.Step(s, _rows[token..(token + 1)]))], outputs);
        }

        foreach (var sequence in alone.Concat(together))
            sequence.Dispose();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(120)]
    public void A_probe_step_sees_what_a_continuation_sees_and_leaves_nothing(int past)
    {
        using var source = Create(PruningPolicy.Compact);
        using var continued = Create(PruningPolicy.Compact);
        foreach (var sequence in new[] { source, continued })
        {
            if (past > 0)
                _model.Prompt(sequence, _rows[..past]);
        }

        source.OpenDeferredSegment(130, Policies, probeTokens: 40);
        continued.OpenSegment(171);
        foreach (var sequence in new[] { source, continued })
            _model.Step(sequence, _rows[past..(past + 130)]);
        using var before = source.SealAs(PruningPolicy.Compact);
        var probe = _rows[(past + 130)..(past + 170)];
        var expected = _model.Step(continued, probe);

        for (var i = 0; i < 2; i++)
        {
            using var step = KvStep.BeginProbe(source, 40);
            Close.Rows(expected, _model.Run([source.Handle], [past + 169], probe)[0], Shape.QueryWidth, 1e-5, "probe");
            if (i == 0)
                step.Commit();
        }

        Assert.Equal(past + 130, source.Length);
        using var after = source.SealAs(PruningPolicy.Compact);
        AssertSameRows(before, after);
        Fails.With(KvCacheStatus.InvalidArgument, () => KvStep.BeginProbe(source, 41), "at most 40");
        Assert.Throws<ArgumentOutOfRangeException>(() => KvStep.BeginProbe(source, 0));
    }

    [Fact]
    public void Rows_can_be_given_without_a_run()
    {
        using var read = Create(PruningPolicy.Exact);
        ReadDeferred(read, _rows[..150], 150);
        using var filled = Create(PruningPolicy.Exact);
        filled.OpenDeferredSegment(150, [PruningPolicy.Dense, PruningPolicy.NearLossless]);
        for (var layer = 0; layer < Shape.Layers; layer++)
        {
            var (first, second) = (_model.ReadRows(read, 0, layer), _model.ReadRows(read, 1, layer));
            filled.Fill(layer, [.. first.Keys, .. second.Keys], [.. first.Values, .. second.Values]);
        }

        AssertSameRows(read, filled);
        using var expected = read.SealAs(PruningPolicy.NearLossless);
        using var found = filled.SealAs(PruningPolicy.NearLossless);
        AssertSameRows(expected, found);
        Fails.With(KvCacheStatus.InvalidState, () => filled.SealAs(PruningPolicy.Compact), "last 32", "0 were kept");
    }

    [Fact]
    public void What_cannot_be_filled_is_refused()
    {
        using var sequence = Create(PruningPolicy.Exact);
        var rows = new float[2 * 50 * 32];
        Fails.With(KvCacheStatus.InvalidState, () => sequence.Fill(0, rows, rows), "no deferred segment");
        sequence.OpenDeferredSegment(50, [PruningPolicy.Compact]);
        Assert.Throws<ArgumentOutOfRangeException>(() => sequence.Fill(-1, rows, rows));
        Assert.Throws<ArgumentOutOfRangeException>(() => sequence.Fill(2, rows, rows));
        Assert.Throws<ArgumentException>("keys", () => sequence.Fill(0, rows.AsSpan(0, 63), rows));
        Assert.Throws<ArgumentException>("values", () => sequence.Fill(0, rows, rows.AsSpan(0, 64)));
        Assert.Throws<ArgumentException>("queries", () => sequence.Fill(0, rows, rows, rows.AsSpan(0, 100)));
        Fails.With(KvCacheStatus.InvalidArgument, () => sequence.Fill(0, rows.AsSpan(0, 64), rows.AsSpan(0, 64)), "1 rows", "50");
        Fails.With(KvCacheStatus.InvalidArgument, () => sequence.Fill(0, rows, rows), "last 32 tokens", "not of 0");
        var broken = (float[])rows.Clone();
        broken[(50 * 32) + (7 * 32)] = float.PositiveInfinity;
        Fails.With(
            KvCacheStatus.InvalidArgument, () => sequence.Fill(1, rows, broken, new float[32 * 128]), "layer 1", "value of token 7");
        var queries = new float[32 * 128];
        queries[^1] = float.NaN;
        Fails.With(KvCacheStatus.InvalidArgument, () => sequence.Fill(1, rows, rows, queries), "layer 1", "query of token 49");
    }

    [Fact]
    public void Segments_and_policies_are_checked()
    {
        using var sequence = Create(PruningPolicy.Exact);
        Assert.Throws<ArgumentOutOfRangeException>(() => sequence.OpenDeferredSegment(0, []));
        Assert.Throws<ArgumentOutOfRangeException>(() => sequence.OpenDeferredSegment(10, [], probeTokens: -1));
        Assert.Throws<ArgumentNullException>(() => sequence.OpenDeferredSegment(10, null!));
        Assert.Throws<ArgumentException>("policies", () => sequence.OpenDeferredSegment(10, [null!]));
        var bad = new PruningPolicy { KeySparsity = 1 };
        Assert.Throws<ArgumentOutOfRangeException>(() => sequence.OpenDeferredSegment(10, [bad]));
        Assert.Throws<ArgumentOutOfRangeException>(() => sequence.SealAs(bad));
        Assert.Throws<ArgumentNullException>(() => sequence.SealAs(null!));
        Fails.With(KvCacheStatus.InvalidState, () => sequence.SealAs(PruningPolicy.Exact), "no deferred segment");
        ReadDeferred(sequence, _rows[..100], 100);
        Assert.Equal(0, sequence.GetInfo().OpenSegmentTokens);
        Fails.With(KvCacheStatus.InvalidState, () => KvStep.Begin(sequence, 1), "full");
        Fails.With(KvCacheStatus.InvalidState, () => sequence.Fork());
        sequence.Rewind(0);
        _model.Prompt(sequence, _rows[..100]);
    }

    private KvSequence Create(PruningPolicy policy) => _model.Manager.CreateSequence(policy);

    private void ReadDeferred(KvSequence sequence, TokenRows rows, int chunk)
    {
        sequence.OpenDeferredSegment(rows.Count, Policies);
        for (var done = 0; done < rows.Count; done += chunk)
            _model.Step(sequence, rows[done..Math.Min(rows.Count, done + chunk)]);
    }

    private void AssertSameRows(KvSequence expected, KvSequence actual)
    {
        for (var layer = 0; layer < Shape.Layers; layer++)
        {
            for (var head = 0; head < Shape.KvHeads; head++)
            {
                var (a, b) = (_model.ReadRows(expected, head, layer), _model.ReadRows(actual, head, layer));
                Assert.Equal(a.Keys, b.Keys);
                Assert.Equal(a.Values, b.Values);
            }
        }
    }
}
