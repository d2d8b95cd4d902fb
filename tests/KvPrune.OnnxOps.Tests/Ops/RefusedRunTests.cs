using KvPrune.OnnxOps.Tests.Graphs;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>What the operator refuses, with a typed reason, and that the sequences survive it.</summary>
public sealed class RefusedRunTests : IDisposable
{
    private static readonly AttentionShape Shape = new(4, 2, 32, Rotary: true);

    private readonly PrunedAttentionModel _model = new(Shape);
    private readonly TokenRows _rows = TokenRows.Random(Shape, 100, seed: 1);
    private readonly KvSequence _sequence;

    public RefusedRunTests()
    {
        _sequence = _model.Manager.CreateSequence(PruningPolicy.Compact);
        _model.Prompt(_sequence, _rows[..50]);
    }

    public void Dispose()
    {
        _sequence.Dispose();
        _model.Dispose();
    }

    [Fact]
    public void A_run_without_a_step() =>
        Refused(KvCacheStatus.InvalidState, [_sequence.Handle], [50], _rows[..1], "no step");

    [Fact]
    public void The_same_sequence_twice_in_a_batch()
    {
        using var step = KvStep.Begin(_sequence, 1);
        Refused(KvCacheStatus.InvalidArgument, [_sequence.Handle, _sequence.Handle], [50, 50], _rows[..2], "rows 0 and 1");
    }

    [Fact]
    public void A_sequence_that_was_released_or_never_existed()
    {
        var released = _sequence.Fork();
        var handle = released.Handle;
        released.Dispose();

        foreach (var stale in new[] { handle, 0, -1, long.MaxValue, long.MinValue, _sequence.Handle + 1 })
            Refused(KvCacheStatus.StaleHandle, [stale], [50], _rows[..1], $"{stale}");
    }

    [Fact]
    public void A_sequence_of_another_manager()
    {
        using var other = new PrunedAttentionModel(Shape);
        using var sequence = other.Manager.CreateSequence(PruningPolicy.Exact);
        sequence.OpenSegment(5);
        using var step = KvStep.Begin(sequence, 5);

        Refused(KvCacheStatus.InvalidArgument, [sequence.Handle], [4], _rows[..5], "another model");
    }

    [Fact]
    public void Lengths_that_differ_from_the_sequences()
    {
        using var step = KvStep.Begin(_sequence, 1);
        foreach (var wrong in new[] { 49, 51, 0, -1, int.MaxValue })
            Refused(KvCacheStatus.LengthMismatch, [_sequence.Handle], [wrong], _rows[..1], "50 tokens");
        Refused(KvCacheStatus.LengthMismatch, [_sequence.Handle], [50], _rows[..2], "2 tokens");
        Fails.Run(
            KvCacheStatus.LengthMismatch, () => _model.Run([_sequence.Handle], [50], _rows[..1], totalLength: 50), "of 50");
    }

    [Fact]
    public void Handles_or_lengths_that_do_not_match_the_batch()
    {
        using var other = _sequence.Fork();
        using var step = KvStep.Begin([_sequence, other], 1);
        Fails.Run(KvCacheStatus.InvalidArgument, () => Mismatched([_sequence.Handle, other.Handle], [50]), "sequence_handles");
        Fails.Run(KvCacheStatus.InvalidArgument, () => Mismatched([_sequence.Handle], [50, 50]), "seqlens_k");
    }

    [Fact]
    public void A_batch_of_several_tokens_over_a_past()
    {
        using var other = _sequence.Fork();
        _sequence.OpenSegment(2);
        other.OpenSegment(2);
        using var step = KvStep.Begin([_sequence, other], 2);

        Refused(KvCacheStatus.LengthMismatch, [_sequence.Handle, other.Handle], [51, 51], _rows[..4], "batch");
    }

    [Fact]
    public void A_second_run_of_one_step()
    {
        using var step = KvStep.Begin(_sequence, 1);
        _model.Run([_sequence.Handle], [50], _rows[50..51]);
        Refused(KvCacheStatus.InvalidState, [_sequence.Handle], [50], _rows[50..51], "twice");
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    [InlineData(float.NegativeInfinity)]
    public void Rows_that_are_not_finite_and_nothing_else_of_their_batch(float number)
    {
        using var other = _sequence.Fork();
        using var expected = _sequence.Fork();
        TokenRows Row(Action<TokenRows> change)
        {
            var two = _rows[50..52];
            change(two);
            return two;
        }

        using (KvStep.Begin([other, _sequence], 1))
        {
            var key = Row(rows => rows.Key[Shape.KvWidth + 63] = number);
            Refused(KvCacheStatus.InvalidArgument, [other.Handle, _sequence.Handle], [50, 50], key, "row 1: layer 0: the key of token 50");
        }

        using (KvStep.Begin([other, _sequence], 1))
        {
            var value = Row(rows => rows.Value[0] = number);
            Refused(KvCacheStatus.InvalidArgument, [other.Handle, _sequence.Handle], [50, 50], value, "row 0: layer 0: the value of token 50");
        }

        using (KvStep.Begin([other, _sequence], 1))
        {
            var query = Row(rows => rows.Query[^1] = number);
            Refused(
                KvCacheStatus.InvalidArgument, [other.Handle, _sequence.Handle], [50, 50], query, "row 1: layer 0: the query of token 50");
        }

        _sequence.OpenSegment(20);
        var prompt = _rows[50..70];
        prompt.Key[(7 * Shape.KvWidth) + 1] = number;
        using (KvStep.Begin(_sequence, 20))
            Refused(KvCacheStatus.InvalidArgument, [_sequence.Handle], [69], prompt, "row 0: layer 0: the key of token 57");
        _sequence.Rewind(50);

        var output = _model.Step(expected, _rows[50..51]);
        Assert.Equal(output, _model.Step(other, _rows[50..51]));
        Assert.Equal(output, _model.Step(_sequence, _rows[50..51]));
    }

    private void Mismatched(long[] handles, int[] seqlensK) =>
        _model.Run(handles, seqlensK, _rows[50..51], batchSize: 1);

    private void Refused(KvCacheStatus status, long[] handles, int[] seqlensK, TokenRows rows, string named)
    {
        Fails.Run(status, () => _model.Run(handles, seqlensK, rows), "layer 0", named);
        Assert.Equal(50, _sequence.Length);
    }
}
