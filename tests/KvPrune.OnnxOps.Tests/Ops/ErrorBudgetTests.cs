using KvPrune.OnnxOps.Tests.Graphs;
using KvPrune.OnnxOps.Tests.Reference;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>What a head reports of itself is what its rows are and what they do to attention.</summary>
public sealed class ErrorBudgetTests(ModelFixture model) : IClassFixture<ModelFixture>, IDisposable
{
    private static readonly AttentionShape Shape = new(4, 2, 64) { Softcap = 30, Window = 150, HeadSink = true };

    private readonly PrunedAttentionModel _model = new(Shape);

    [Theory]
    [InlineData(0.02)]
    [InlineData(0.1)]
    [InlineData(0.4)]
    public void The_error_that_is_reported_is_that_of_the_outputs(double budget)
    {
        var rows = LayerRows.Same(TokenRows.Random(Shape, 230, seed: 3));
        using var pruned = Check(_model, rows, PruningPolicy.ForOutputError(budget));
        Assert.True(
            pruned.GetInfo().TotalBytes <=
            KvCacheManager.EstimateBytes(_model.Manager.Shape, pruned.Policy, rows.Count).ResidentBytes);
    }

    [Theory]
    [InlineData(33, 0.1)]
    [InlineData(97, 0.02)]
    [InlineData(97, 0.3)]
    [InlineData(300, 0.02)]
    [InlineData(300, 0.1)]
    [InlineData(700, 0.3)]
    public void So_it_is_on_rows_of_the_bundled_model(int length, double budget)
    {
        var policy = PruningPolicy.ForOutputError(budget);
        Check(model.Model, ModelFixture.Tensors.Rows[..length], policy).Dispose();
    }

    // What eviction does to the outputs counts too, and alone it may be more than the budget.
    [Theory]
    [InlineData(0.01)]
    [InlineData(0.2)]
    public void So_it_is_after_eviction(double budget)
    {
        var policy = PruningPolicy.ForOutputError(budget) with { Eviction = new() { Sparsity = 0.4 }, KeyScore = KeyScore.QueryRms };
        Check(model.Model, ModelFixture.Tensors.Rows[..300], policy).Dispose();
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

    // Every head's own setting, in the reference: the rows that it leaves, and what these do to the observed queries' outputs.
    private static KvSequence Check(PrunedAttentionModel model, LayerRows rows, PruningPolicy policy)
    {
        var sequence = model.Manager.CreateSequence(policy);
        sequence.OpenSegment(rows.Count);
        foreach (var chunk in new[] { ..(rows.Count / 2), (rows.Count / 2).. })
        {
            using var step = KvStep.Begin(sequence, rows[chunk].Count);
            model.Run(sequence, rows[chunk]);
            step.Commit();
        }

        for (var layer = 0; layer < model.Shape.Layers; layer++)
        {
            for (var head = 0; head < model.Shape.KvHeads; head++)
            {
                var what = $"{rows.Count} tokens within {policy.OutputError}, layer {layer}, head {head}";
                var info = sequence.ReadHead(layer, head);
                var reference = new ReferenceSequence(model.Shape, Setting(policy, info), layer);
                reference.Add(rows.Layers[layer]);
                var prompt = reference.Prompts(rows.Layers[layer])[head];
                ReferenceSequence.Seal([reference], new([rows.Layers[layer]]), [], (_, _, choice) => choice.Kept);
                Assert.Equal(prompt.Leaving.Count, info.Tokens);
                Assert.Equal(reference.Heads[head].Rows.Take(prompt.Leaving.Count).Count(row => row.IsKept), info.KeptTokens);
                if (info.Tokens == 0)
                    continue;
                var error = Error(prompt, reference.Heads[head].Rows);
                Assert.True(Math.Abs(info.OutputError - error) <= 0.002 * error, $"{what}: {info.OutputError} in place of {error}");
                if (info.OutputError > policy.OutputError)
                {
                    Assert.NotNull(policy.Eviction);
                    Assert.Equal(Untouched(info, model.Shape.HeadSize), info);
                }

                StoredRows.AreThoseOf(reference.Heads[head], model, sequence, layer, head, what);
            }
        }

        return sequence;
    }

    private static KvHeadInfo Untouched(KvHeadInfo info, int headSize) => info with
    {
        KeyStorage = KvStorage.BFloat16,
        ValueStorage = KvStorage.BFloat16,
        KeyChannels = headSize,
        ValueChannels = headSize,
        KeyElements = 64 * headSize,
        ValueElements = 64 * headSize,
    };

    // The policy without a budget that removes as much.
    private static PruningPolicy Setting(PruningPolicy policy, KvHeadInfo info) => info.Tokens == 0 ? policy with { OutputError = null }
        : policy with
        {
            OutputError = null,
            KeyStorage = info.KeyStorage,
            ValueStorage = info.ValueStorage,
            KeyChannelSparsity = 1 - (info.KeyChannels / (double)Shape.HeadSize),
            KeySparsity = 1 - (info.KeyElements / 64.0 / info.KeyChannels),
            ValueSparsity = 1 - (info.ValueElements / 64.0 / info.ValueChannels),
        };

    // ‖o' − o‖/‖o‖ with and without what was removed of the leaving rows.
    private static double Error(ReferencePrompt prompt, IReadOnlyList<ReferenceToken> rows)
    {
        var end = prompt.Leaving.First + prompt.Leaving.Count;
        double[]?[] keys = [.. rows.Take(end).Select(row => row.IsKept ? row.Key.Stored : null), .. prompt.Keys.Skip(end)];
        double[]?[] values = [.. rows.Take(end).Select(row => row.Value.Stored), .. prompt.Values.Skip(end)];
        var (difference, norm) = (0.0, 0.0);
        foreach (var (head, position, query) in prompt.Observed(window: 32))
        {
            double[] Output(IReadOnlyList<double[]?> keys, IReadOnlyList<double[]?> values)
            {
                var weights = ReferenceAttention.Weights(prompt.Shape, query, position, keys, prompt.Sinks[head]);
                return [.. Enumerable.Range(0, query.Length).Select(j => weights.Zip(values).Sum(row => row.First * row.Second![j]))];
            }

            var output = Output(prompt.Keys, prompt.Values);
            difference += output.Zip(Output(keys, values)).Sum(pair => Math.Pow(pair.First - pair.Second, 2));
            norm += output.Sum(x => x * x);
        }

        return Math.Sqrt(difference / norm);
    }
}
