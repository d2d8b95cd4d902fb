using KvPrune.OnnxOps.Tests.Ops;

namespace KvPrune.OnnxOps.Tests.Cache;

public sealed class KvStepTests : IDisposable
{
    private readonly KvCacheManager _manager = new(new KvModelShape(2, 4, 2, 32, 500));

    public void Dispose() => _manager.Dispose();

    [Fact]
    public void A_sequence_in_a_step_is_busy_until_the_step_ends()
    {
        using var sequence = Create();
        using var other = Create();
        using (KvStep.Begin(sequence, 1))
        {
            Fails.With(KvCacheStatus.Busy, () => KvStep.Begin(sequence, 1));
            Fails.With(KvCacheStatus.Busy, () => KvStep.Begin([other, sequence], 1));
            Fails.With(KvCacheStatus.Busy, () => sequence.Fork());
            Fails.With(KvCacheStatus.Busy, () => sequence.OpenSegment(1));
            Fails.With(KvCacheStatus.Busy, () => sequence.Rewind(0));
            Fails.With(KvCacheStatus.Busy, sequence.Checkpoint);
            KvStep.Begin(other, 1).Dispose(); // not held by the refused batch
        }

        KvStep.Begin([other, sequence], 1).Dispose();
    }

    [Fact]
    public void The_same_sequence_twice_is_refused()
    {
        using var sequence = Create();
        Fails.With(KvCacheStatus.Busy, () => KvStep.Begin([sequence, sequence], 1));
        KvStep.Begin(sequence, 1).Dispose();
    }

    [Fact]
    public void Without_a_segment_a_step_is_one_token()
    {
        using var sequence = Create();
        Fails.With(KvCacheStatus.InvalidState, () => KvStep.Begin(sequence, 2), "2 tokens");
        Assert.Throws<ArgumentOutOfRangeException>(() => KvStep.Begin(sequence, 0));
        Assert.Throws<ArgumentException>(() => KvStep.Begin([], 1));
        Assert.Throws<ArgumentNullException>(() => KvStep.Begin((KvSequence)null!, 1));
    }

    [Fact]
    public void Committing_needs_a_run_over_every_layer_and_happens_once()
    {
        using var sequence = Create();
        var step = KvStep.Begin(sequence, 1);
        Fails.With(KvCacheStatus.InvalidState, step.Commit, "layer 0");
        step.Dispose();
        Assert.Throws<ObjectDisposedException>(step.Commit);
        step.Dispose();

        using var model = new PrunedAttentionModel(new(2, 1, 16));
        using var run = model.Manager.CreateSequence(PruningPolicy.Compact);
        using var committed = KvStep.Begin(run, 1);
        model.Run([run.Handle], [0], TokenRows.Random(model.Shape, 1, seed: 1));
        committed.Commit();
        Assert.Throws<InvalidOperationException>(committed.Commit);
        Assert.Equal(1, run.Length);
    }

    [Fact]
    public void Disposing_a_step_that_was_committed_does_not_end_a_later_one()
    {
        using var model = new PrunedAttentionModel(new(2, 1, 16));
        using var sequence = model.Manager.CreateSequence(PruningPolicy.Compact);
        var first = KvStep.Begin(sequence, 1);
        model.Run([sequence.Handle], [0], TokenRows.Random(model.Shape, 1, seed: 1));
        first.Commit();
        using var second = KvStep.Begin(sequence, 1);
        first.Dispose();

        Fails.With(KvCacheStatus.Busy, () => KvStep.Begin(sequence, 1));
    }

    [Fact]
    public void A_sequence_disposed_during_a_step_is_released_when_it_ends()
    {
        var sequence = Create();
        using (KvStep.Begin(sequence, 1))
        {
            sequence.Dispose();
            Assert.Equal(1, _manager.GetStatistics().Sequences);
        }

        Assert.Equal(0, _manager.GetStatistics().Sequences);
    }

    [Fact]
    public void The_model_s_longest_sequence_is_the_end()
    {
        using var model = new PrunedAttentionModel(new(2, 1, 16));
        using var sequence = model.Manager.CreateSequence(PruningPolicy.Compact);
        model.Prompt(sequence, TokenRows.Random(model.Shape, Graphs.AttentionShape.MaxTokens, seed: 1));

        Fails.With(KvCacheStatus.InvalidArgument, () => KvStep.Begin(sequence, 1), $"{Graphs.AttentionShape.MaxTokens}");
    }

    private KvSequence Create() => _manager.CreateSequence(PruningPolicy.Compact);
}
