using KvPrune.OnnxOps.Tests.Graphs;
using KvPrune.OnnxOps.Tests.Ops;

namespace KvPrune.OnnxOps.Tests.Cache;

public sealed class KvSequenceTests : IDisposable
{
    private readonly KvCacheManager _manager = new(new KvModelShape(2, 4, 2, 32, 500));

    public void Dispose() => _manager.Dispose();

    [Fact]
    public void A_disposed_sequence_refuses_every_call_and_a_second_dispose_is_harmless()
    {
        var sequence = _manager.CreateSequence(PruningPolicy.Compact);
        using var other = _manager.CreateSequence(PruningPolicy.Compact);
        sequence.Dispose();
        sequence.Dispose();

        Action[] calls =
        [
            () => _ = sequence.Handle, () => _ = sequence.Length, () => sequence.Fork(), () => sequence.OpenSegment(1),
            sequence.Checkpoint, () => sequence.Rewind(0), () => sequence.GetInfo(), () => sequence.ReadRows(0, 0, [], []), () => sequence.ReadKept(0, 0),
            () => KvStep.Begin(sequence, 1), () => KvStep.Begin([other, sequence], 1),
        ];
        Assert.All(calls, call => Assert.Throws<ObjectDisposedException>(call));
        KvStep.Begin(other, 1).Dispose(); // the refused batch did not take it
        Assert.Equal(1, _manager.GetStatistics().Sequences);
    }

    [Fact]
    public void Handles_are_not_reused()
    {
        var seen = new HashSet<long>();
        for (var i = 0; i < 1000; i++)
        {
            using var sequence = _manager.CreateSequence(PruningPolicy.Compact);
            Assert.True(seen.Add(sequence.Handle));
        }
    }

    [Fact]
    public void Sequences_outlive_their_manager()
    {
        var manager = new KvCacheManager(new KvModelShape(1, 2, 1, 16, 100));
        var sequence = manager.CreateSequence(PruningPolicy.Exact);
        manager.Dispose();
        manager.Dispose();

        Assert.Throws<ObjectDisposedException>(() => manager.CreateSequence(PruningPolicy.Exact));
        Assert.Throws<ObjectDisposedException>(() => manager.GetStatistics());
        using var fork = sequence.Fork();
        sequence.Dispose();
        Assert.Equal(0, fork.Length);
    }

    [Fact]
    public void Sequences_that_nobody_disposed_are_collected()
    {
        for (var i = 0; i < 20; i++)
            Drop();
        for (var i = 0; i < 10 && _manager.GetStatistics().Sequences > 0; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }

        Assert.Equal(0, _manager.GetStatistics().Sequences);
        [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
        void Drop() => _manager.CreateSequence(PruningPolicy.Compact).Checkpoint();
    }

    [Fact]
    public void Two_managers_have_different_ids()
    {
        using var other = new KvCacheManager(_manager.Shape);
        Assert.NotEqual(_manager.Id, other.Id);
    }

    [Fact]
    public void Segments_must_fit_the_model_and_are_opened_one_at_a_time()
    {
        using var sequence = _manager.CreateSequence(PruningPolicy.Compact);
        Assert.Throws<ArgumentOutOfRangeException>(() => sequence.OpenSegment(0));
        Fails.With(KvCacheStatus.InvalidArgument, () => sequence.OpenSegment(501), "501", "500");
        sequence.OpenSegment(500);
        Assert.Equal(500, sequence.GetInfo().OpenSegmentTokens);
        Fails.With(KvCacheStatus.InvalidState, () => sequence.OpenSegment(1));
        Fails.With(KvCacheStatus.InvalidState, () => sequence.Fork());
        Fails.With(KvCacheStatus.InvalidState, sequence.Checkpoint);
        Fails.With(KvCacheStatus.InvalidArgument, () => KvStep.Begin(sequence, 501), "501");
        sequence.Rewind(0);
        Assert.Equal(0, sequence.GetInfo().OpenSegmentTokens);
    }

    [Fact]
    public void Rows_are_read_only_where_they_exist()
    {
        using var model = new PrunedAttentionModel(new AttentionShape(4, 2, 32));
        using var sequence = model.Manager.CreateSequence(PruningPolicy.Exact);
        var rows = TokenRows.Random(model.Shape, 10, seed: 1);
        model.Prompt(sequence, rows);
        var (full, shorter) = (new float[320], new float[319]);

        sequence.ReadRows(0, 1, full, new float[320]);
        Assert.Equal(rows.Key[32..64], full[..32]);
        Assert.Throws<ArgumentException>(() => sequence.ReadRows(0, 0, shorter, full));
        Assert.Throws<ArgumentException>(() => sequence.ReadRows(0, 0, full, shorter));
        Assert.Throws<ArgumentOutOfRangeException>(() => sequence.ReadRows(1, 0, full, full));
        Assert.Throws<ArgumentOutOfRangeException>(() => sequence.ReadRows(0, 2, full, full));
        Assert.Throws<ArgumentOutOfRangeException>(() => sequence.ReadRows(-1, 0, full, full));
        Assert.Equal(Enumerable.Repeat(true, 10), sequence.ReadKept(0, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => sequence.ReadKept(1, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => sequence.ReadKept(0, 2));
    }
}
