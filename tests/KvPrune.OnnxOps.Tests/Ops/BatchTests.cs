using KvPrune.OnnxOps.Tests.Graphs;

namespace KvPrune.OnnxOps.Tests.Ops;

public sealed class BatchTests : IDisposable
{
    private static readonly AttentionShape Shape = new(8, 2, 64, Rotary: true);

    private readonly PrunedAttentionModel _model = new(Shape);

    public void Dispose() => _model.Dispose();

    [Theory]
    [InlineData(-1)]
    [InlineData(70)]
    public void A_decode_batch_of_any_lengths_and_policies_gives_each_what_it_gets_alone(int window)
    {
        var shape = Shape with { Window = window, HeadSink = window > 0 };
        using var model = new PrunedAttentionModel(shape);
        int[] lengths = [1, 40, 95, 96, 250];
        string[] policies = ["compact", "exact", "dense", "compact", "balanced"];
        var rows = lengths.Select((length, i) => TokenRows.Random(shape, length + 70, seed: i)).ToArray();
        var alone = new List<float[]>();
        var batch = new List<KvSequence>();
        for (var i = 0; i < lengths.Length; i++)
        {
            batch.Add(model.Manager.CreateSequence(PruningPolicy.FromName(policies[i])));
            model.Prompt(batch[i], rows[i][..lengths[i]]);
            using var single = batch[i].Fork();
            alone.Add(model.Decode(single, rows[i][lengths[i]..]));
        }

        for (var t = 0; t < 70; t++)
        {
            var tokens = Join([.. rows.Select((all, i) => all[(lengths[i] + t)..(lengths[i] + t + 1)])]);
            using var step = KvStep.Begin(batch, 1);
            var output = model.Run(
                [.. batch.Select(s => s.Handle)], [.. lengths.Select(length => length + t)], tokens)[0];
            step.Commit();
            for (var i = 0; i < lengths.Length; i++)
            {
                Assert.Equal(
                    alone[i].AsSpan(t * Shape.QueryWidth, Shape.QueryWidth),
                    output.AsSpan(i * Shape.QueryWidth, Shape.QueryWidth));
            }
        }

        batch.ForEach(sequence => sequence.Dispose());
    }

    [Fact]
    public void Right_padded_first_prompts_give_each_row_what_it_gets_alone()
    {
        var (longer, shorter) = (TokenRows.Random(Shape, 100, seed: 1), TokenRows.Random(Shape, 100, seed: 2));
        using var first = _model.Manager.CreateSequence(PruningPolicy.Compact);
        using var second = _model.Manager.CreateSequence(PruningPolicy.Compact);
        first.OpenSegment(100);
        second.OpenSegment(60);

        using var step1 = KvStep.Begin(first, 100);
        using var step2 = KvStep.Begin(second, 60);
        var output = _model.Run([first.Handle, second.Handle], [99, 59], Join([longer, shorter]))[0];
        step1.Commit();
        step2.Commit();

        using var alone = _model.Manager.CreateSequence(PruningPolicy.Compact);
        var width = Shape.QueryWidth;
        Assert.Equal(_model.Prompt(alone, shorter[..60]), output[(100 * width)..(160 * width)]);
        Assert.All(output[(160 * width)..], value => Assert.Equal(0, value));
        using var other = _model.Manager.CreateSequence(PruningPolicy.Compact);
        Assert.Equal(_model.Prompt(other, longer), output[..(100 * width)]);
    }

    [Fact]
    public async Task Sequences_on_different_threads_do_not_disturb_each_other()
    {
        var rows = Enumerable.Range(0, 6).Select(i => TokenRows.Random(Shape, 180, seed: i)).ToArray();
        float[] Answer(TokenRows own)
        {
            using var sequence = _model.Manager.CreateSequence(PruningPolicy.Compact);
            return [.. _model.Prompt(sequence, own[..100], 60, 40), .. _model.Decode(sequence, own[100..])];
        }

        var expected = rows.Select(Answer).ToArray();
        var actual = await Task.WhenAll(rows.Select(own => Task.Run(() => Answer(own))));

        Assert.Equal(expected, actual);
        Assert.Equal(0, _model.Manager.GetStatistics().Sequences);
    }

    private static TokenRows Join(TokenRows[] rows) => new(
        rows[0].Shape,
        rows.Sum(r => r.Count),
        [.. rows.SelectMany(r => r.Query)],
        [.. rows.SelectMany(r => r.Key)],
        [.. rows.SelectMany(r => r.Value)]);
}
