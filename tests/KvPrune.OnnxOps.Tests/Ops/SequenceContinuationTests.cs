using KvPrune.OnnxOps.Tests.Graphs;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>However a sequence got where it is, it goes on as if it had come straight there.</summary>
public sealed class SequenceContinuationTests : IDisposable
{
    private static readonly AttentionShape Shape = new(8, 2, 64, Rotary: true, Layers: 2);

    private readonly PrunedAttentionModel _model = new(Shape);

    public static TheoryData<string> Policies => [.. PruningPolicy.Presets.Keys];

    public void Dispose() => _model.Dispose();

    [Theory]
    [MemberData(nameof(Policies))]
    public void A_prompt_in_chunks_equals_the_prompt_in_one_run(string policy)
    {
        var rows = TokenRows.Random(Shape, 310, seed: 1);
        using var whole = Create(policy);
        var expected = _model.Prompt(whole, rows[..300]);
        foreach (var chunks in new int[][] { [128, 128, 44], [1, 299], [299, 1], [7, 61, 64, 65, 103] })
        {
            using var chunked = Create(policy);
            Close.Rows(expected, _model.Prompt(chunked, rows[..300], chunks), Shape.HeadSize, 1e-5, "prompt");
            SameRows(whole, chunked);
            using var continued = whole.Fork();
            Assert.Equal(_model.Decode(continued, rows[300..]), _model.Decode(chunked, rows[300..]));
        }
    }

    [Theory]
    [MemberData(nameof(Policies))]
    public void A_fork_goes_on_like_its_source_and_neither_disturbs_the_other(string policy)
    {
        var rows = TokenRows.Random(Shape, 400, seed: 2);
        using var alone = Create(policy);
        _model.Prompt(alone, rows[..150]);
        var expected = _model.Decode(alone, rows[150..270]);

        using var source = Create(policy);
        _model.Prompt(source, rows[..150]);
        using var fork = source.Fork();
        fork.Checkpoint();
        var other = rows[270..390];
        var fromSource = new List<float>();
        for (var i = 0; i < 120; i++)
        {
            fromSource.AddRange(_model.Step(source, rows[(150 + i)..(151 + i)]));
            _model.Step(fork, other[i..(i + 1)]);
        }

        Assert.Equal(expected, fromSource);
        source.Dispose();
        Assert.Equal(150 + 120, fork.Length);
        fork.Rewind(150);
        Assert.Equal(expected, _model.Decode(fork, rows[150..270]));
    }

    [Fact]
    public void A_forks_checkpoint_holds_when_its_source_goes_elsewhere()
    {
        var rows = TokenRows.Random(Shape, 260, seed: 9);
        using var source = Create("compact");
        _model.Prompt(source, rows[..140]);
        _model.Decode(source, rows[140..150]);
        source.Checkpoint();
        using var fork = source.Fork();
        fork.Checkpoint();
        var expected = _model.Decode(fork, rows[150..250]);

        source.Rewind(145);
        _model.Decode(source, rows[250..260]);

        fork.Rewind(150); // rows were sealed since, so the tail comes from the checkpoint
        Assert.Equal(expected, _model.Decode(fork, rows[150..250]));
    }

    [Theory]
    [MemberData(nameof(Policies))]
    public void Rewinding_to_a_checkpoint_and_inside_the_tail_is_exact(string policy)
    {
        var rows = TokenRows.Random(Shape, 500, seed: 3);
        using var sequence = Create(policy);
        _model.Prompt(sequence, rows[..140]);
        var first = _model.Decode(sequence, rows[140..150]);
        sequence.Checkpoint();
        var second = _model.Decode(sequence, rows[150..250]);
        Assert.Equal(192, sequence.GetInfo().SealedTokens);

        sequence.Rewind(150);
        Assert.Equal(second, _model.Decode(sequence, rows[150..250]));
        sequence.Rewind(140);
        Assert.Equal(first, _model.Decode(sequence, rows[140..150]));
        sequence.Rewind(145);
        Assert.Equal(first[(5 * Shape.QueryWidth)..], _model.Decode(sequence, rows[145..150]));
        sequence.Rewind(0);
        Assert.Equal(0, sequence.Length);
        _model.Prompt(sequence, rows[..140]);
        Assert.Equal(first, _model.Decode(sequence, rows[140..150]));
    }

    [Fact]
    public void Rewinding_elsewhere_is_refused_and_changes_nothing()
    {
        var rows = TokenRows.Random(Shape, 320, seed: 4);
        using var sequence = Create("compact");
        _model.Prompt(sequence, rows[..200]);
        _model.Decode(sequence, rows[200..300]);
        using var untouched = sequence.Fork();

        foreach (var length in new[] { 1, 150, 199, 201, 230 })
            Fails.With(KvCacheStatus.NotRewindable, () => sequence.Rewind(length), $"{length}");
        Fails.With(KvCacheStatus.InvalidArgument, () => sequence.Rewind(301), "301");
        Assert.Throws<ArgumentOutOfRangeException>(() => sequence.Rewind(-1));

        Assert.Equal(_model.Decode(untouched, rows[300..]), _model.Decode(sequence, rows[300..]));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_step_that_is_rolled_back_leaves_no_trace(bool prompt)
    {
        var rows = TokenRows.Random(Shape, 400, seed: 5);
        var wrong = TokenRows.Random(Shape, 400, seed: 6);
        using var expected = Create("compact");
        using var sequence = Create("compact");
        _model.Prompt(expected, rows[..200]);
        if (prompt)
        {
            sequence.OpenSegment(200);
            _model.Step(sequence, rows[..120]);
            using (KvStep.Begin(sequence, 30))
                _model.Run([sequence.Handle], [149], wrong[..30]);
            Assert.Equal(120, sequence.Length);
            _model.Step(sequence, rows[120..200]);
        }
        else
        {
            _model.Prompt(sequence, rows[..200]);
        }

        for (var i = 200; i < 300; i++)
        {
            using (KvStep.Begin(sequence, 1))
                _model.Run([sequence.Handle], [i], wrong[i..(i + 1)]);
            Assert.Equal(_model.Step(expected, rows[i..(i + 1)]), _model.Step(sequence, rows[i..(i + 1)]));
        }

        SameRows(expected, sequence);
    }

    [Fact]
    public void A_run_that_fails_in_the_middle_leaves_the_sequence_usable()
    {
        var rows = TokenRows.Random(Shape, 210, seed: 7);
        using var expected = Create("compact");
        using var sequence = Create("compact");
        _model.Prompt(expected, rows[..200]);
        _model.Prompt(sequence, rows[..200]);

        using (var step = KvStep.Begin(sequence, 1))
        {
            Fails.Run(KvCacheStatus.LengthMismatch, () => _model.Run([sequence.Handle], [77], rows[..1]), "78", "200");
            Fails.With(KvCacheStatus.InvalidState, step.Commit, "layer 0");
        }

        Assert.Equal(_model.Decode(expected, rows[200..]), _model.Decode(sequence, rows[200..]));
    }

    [Fact]
    public void A_second_segment_equals_itself_after_a_rewind_to_the_first_ones_end()
    {
        var rows = TokenRows.Random(Shape, 400, seed: 8);
        using var sequence = Create("compact");
        _model.Prompt(sequence, rows[..170]);
        var expected = _model.Prompt(sequence, rows[170..390], 100, 120);
        var decoded = _model.Decode(sequence, rows[390..]);

        sequence.Rewind(170);
        sequence.OpenSegment(220);
        _model.Step(sequence, rows[200..250]);
        sequence.Rewind(170); // drops the open segment
        Assert.Equal(expected, _model.Prompt(sequence, rows[170..390], 100, 120));
        Assert.Equal(decoded, _model.Decode(sequence, rows[390..]));
    }

    private KvSequence Create(string policy) => _model.Manager.CreateSequence(PruningPolicy.FromName(policy));

    private void SameRows(KvSequence expected, KvSequence actual)
    {
        Assert.Equal(expected.GetInfo().SealedTokens, actual.GetInfo().SealedTokens);
        for (var layer = 0; layer < Shape.Layers; layer++)
        {
            for (var head = 0; head < Shape.KvHeads; head++)
            {
                var (keys, values) = _model.ReadRows(expected, head, layer);
                var (actualKeys, actualValues) = _model.ReadRows(actual, head, layer);
                Assert.Equal(keys, actualKeys);
                Assert.Equal(values, actualValues);
            }
        }
    }
}
