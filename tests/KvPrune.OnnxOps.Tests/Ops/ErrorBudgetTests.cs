using KvPrune.OnnxOps.Tests.Graphs;
using KvPrune.OnnxOps.Tests.Reference;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>What a head reports of itself is what its rows are and what they do to attention.</summary>
public sealed class ErrorBudgetTests : IDisposable
{
    private static readonly AttentionShape Shape = new(4, 2, 64) { Softcap = 30, Window = 150, HeadSink = true };

    private readonly PrunedAttentionModel _model = new(Shape);

    [Theory]
    [InlineData(0.02)]
    [InlineData(0.1)]
    [InlineData(0.4)]
    public void The_error_that_is_reported_is_that_of_the_outputs(double budget)
    {
        const int length = 230;
        var rows = TokenRows.Random(Shape, length, seed: 3);
        using var exact = _model.Manager.CreateSequence(PruningPolicy.Exact);
        using var pruned = _model.Manager.CreateSequence(PruningPolicy.ForOutputError(budget));
        _model.Prompt(exact, rows);
        _model.Prompt(pruned, rows, 100, 130);
        var observed = Enumerable.Range(length - 32, 32);
        for (var head = 0; head < Shape.KvHeads; head++)
        {
            var info = pruned.ReadHead(0, head);
            var (keys, values) = Read(exact, head);
            var (prunedKeys, prunedValues) = Read(pruned, head);
            for (var t = info.Tokens; t < length; t++)
                (prunedKeys[(int)t], prunedValues[(int)t]) = (keys[(int)t], values[(int)t]);
            var (difference, norm) = (0.0, 0.0);
            foreach (var (query, position) in
                from query in Enumerable.Range(head * 2, 2) from position in observed select (query, position))
            {
                var output = Output(rows, query, position, keys, values);
                var approximate = Output(rows, query, position, prunedKeys, prunedValues);
                difference += output.Zip(approximate).Sum(pair => Math.Pow(pair.First - pair.Second, 2));
                norm += output.Sum(x => x * x);
            }

            var error = Math.Sqrt(difference / norm);
            Assert.InRange(info.OutputError, error * 0.998, error * 1.002);
            Assert.InRange(info.OutputError, 0, (float)budget);
            Assert.Equal(192, info.Tokens);
            Assert.Equal(192, info.KeptTokens);
        }

        Assert.True(
            pruned.GetInfo().TotalBytes <=
            KvCacheManager.EstimateBytes(_model.Manager.Shape, pruned.Policy, length).ResidentBytes);
    }

    [Fact]
    public void A_head_reports_what_its_policy_removed()
    {
        var policy = new PruningPolicy
        {
            KeyStorage = KvStorage.Int8,
            KeyChannelSparsity = 0.5,
            KeySparsity = 0.25,
            ValueStorage = KvStorage.Int4,
            ValueChannelSparsity = 0.25,
            ValuePattern = SparsityPattern.PerChannel,
            ValueSparsity = 0.5,
        };
        using var sequence = _model.Manager.CreateSequence(policy);
        Assert.Equal(new KvHeadInfo { OutputError = float.NaN }, sequence.ReadHead(0, 1));
        _model.Prompt(sequence, TokenRows.Random(Shape, 100, seed: 4));
        var info = sequence.ReadHead(0, 1);
        Assert.Equal(
            new KvHeadInfo(64, 64, info.Bytes, KvStorage.Int8, KvStorage.Int4, 32, 48, 64 * 24, 64 * 24, float.NaN), info);
        Assert.InRange(sequence.GetInfo().SealedBytes - (2 * info.Bytes), 0, 128);
        Assert.Throws<ArgumentOutOfRangeException>(() => sequence.ReadHead(0, 2));
        Assert.Throws<ArgumentOutOfRangeException>(() => sequence.ReadHead(1, 0));
    }

    public void Dispose() => _model.Dispose();

    private (double[][] Keys, double[][] Values) Read(KvSequence sequence, int head)
    {
        var (keys, values) = _model.ReadRows(sequence, head);
        double[][] Rows(float[] rows) => [.. rows.Select(x => (double)x).Chunk(Shape.HeadSize)];
        return (Rows(keys), Rows(values));
    }

    private static double[] Output(TokenRows rows, int head, int position, double[][] keys, double[][] values)
    {
        var at = (position * Shape.QueryWidth) + (head * Shape.HeadSize);
        double[] query = [.. rows.Query.Skip(at).Take(Shape.HeadSize)];
        var weights = ReferenceAttention.Weights(Shape, query, position, keys, Shape.HeadSinks()[head]);
        return [.. Enumerable.Range(0, Shape.HeadSize).Select(j => weights.Zip(values).Sum(row => row.First * row.Second[j]))];
    }
}
