using KvPrune.OnnxOps.Tests.Graphs;
using KvPrune.OnnxOps.Tests.Reference;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>
/// Every way to evict tokens keeps those that its definition says, and attention over what is left is that of the rows kept.
/// </summary>
[Collection(KernelChoice.Name)]
public sealed class EvictionReferenceTests : IDisposable
{
    private static readonly AttentionShape[] Shapes =
    [
        new(4, 2, 32, Rotary: true, Layers: 3),
        new(4, 4, 64, Layers: 2) { Windows = [-1, 90], HeadSink = true },
        new(6, 2, 32, Rotary: true, Layers: 2) { Softcap = 5, SmoothSoftmax = true, Interleaved = true, RotarySize = 16 },
    ];

    private static readonly PruningPolicy[] Policies =
    [
        Evicting(new() { Score = TokenScore.Recency, Sparsity = 0.5 }),
        Evicting(new() { Score = TokenScore.Recency, TokenBudget = 100, SinkTokens = 0 }) with { RecentWindow = 0 },
        Evicting(new() { Sparsity = 0.5 }),
        Evicting(new() { TokenBudget = 150, PoolKernel = 1, SinkTokens = 70 }) with { ObservationWindow = 5 },
        Evicting(new() { Sparsity = 0.4, Heads = HeadBudgets.Adaptive }),
        Evicting(new() { Sparsity = 0.7, Heads = HeadBudgets.Adaptive, HeadFloor = 0, PyramidSlope = 20 }) with { RecentWindow = 5 },
        Evicting(new() { Sparsity = 0.5, Heads = HeadBudgets.Adaptive, SecondStage = true }),
        Evicting(new() { Sparsity = 0.5, Heads = HeadBudgets.Global, WeighByValue = true }),
        Evicting(new() { Sparsity = 0.5 }) with { KeyChannelSparsity = 0.4 },
        Evicting(new() { Score = TokenScore.AccumulatedAttention, Sparsity = 0.5 }),
        Evicting(new() { Score = TokenScore.AccumulatedAttention, Sparsity = 0.6, WeighByValue = true, SinkTokens = 0 }),
        Evicting(new() { Score = TokenScore.AccumulatedAttention, Sparsity = 0.6, PyramidSlope = 3 }) with { RecentWindow = 100 },
        Evicting(new() { Score = TokenScore.AccumulatedAttention, Sparsity = 0.5, Heads = HeadBudgets.Global }),
        Evicting(new() { Score = TokenScore.ExpectedAttention, Sparsity = 0.5 }),
        Evicting(new() { Score = TokenScore.ExpectedAttention, Sparsity = 0.5, WeighByValue = true, SinkTokens = 1 }),
        Evicting(new() { Score = TokenScore.ExpectedAttention, Sparsity = 0.4, SecondStage = true, Heads = HeadBudgets.Adaptive }),
        Evicting(new() { Score = TokenScore.Reconstruction, Sparsity = 0.6 }),
        Evicting(new() { Score = TokenScore.Reconstruction, Sparsity = 0.5, Heads = HeadBudgets.Global }),
        Evicting(new() { Score = TokenScore.Reconstruction, Sparsity = 0.5, SecondStage = true }),
        WhileDecoding(new() { Score = TokenScore.AccumulatedAttention, Sparsity = 0.5 }),
        WhileDecoding(new() { Score = TokenScore.AccumulatedAttention, TokenBudget = 170, SinkTokens = 70 }) with { RecentWindow = 0 },
        WhileDecoding(new() { Score = TokenScore.AccumulatedAttention, Sparsity = 0.6, Heads = HeadBudgets.Adaptive, PyramidSlope = 3 }),
        WhileDecoding(new() { Score = TokenScore.AccumulatedAttention, Sparsity = 0.6 }) with { KeyChannelSparsity = 0.4, ValueSparsity = 0.5 },
        WhileDecoding(new() { Score = TokenScore.Recency, TokenBudget = 150 }) with { RecentWindow = 40, ValueChannelSparsity = 0.3 },
    ];

    // Per shape, with the Gram matrices of each layer.
    private readonly Dictionary<AttentionShape, (PrunedAttentionModel Model, float[][] Grams)> _models = [];

    public static TheoryData<int> Cases => [.. Enumerable.Range(0, Policies.Length)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Kept_tokens_rows_and_outputs_equal_the_reference(int policyIndex)
    {
        var policy = Policies[policyIndex];
        var random = new Random(policyIndex);
        var unclear = 0;
        foreach (var (index, shape) in Shapes.Index())
        {
            KvPruneOps.UseKernels(index == policyIndex % Shapes.Length ? "scalar" : null);
            // Shorter than every window, and long enough for budgets to differ.
            foreach (var prompt in new[] { random.Next(3, 30), random.Next(96, 140), random.Next(270, 330) })
            {
                if (!Compare(shape, policy, prompt, second: random.Next(2, 150), random))
                    unclear++;
            }
        }

        Assert.InRange(unclear, 0, 1);
    }

    [Fact]
    public void Layers_have_sparsities_of_their_own()
    {
        var shape = Shapes[0];
        var policy = Evicting(new() { Sparsity = 0.5 }) with
        {
            Layers = [new() { TokenSparsity = 0.2 }, new(), new() { TokenSparsity = 0.8, KeyChannelSparsity = 0.25 }],
        };
        var random = new Random(1);
        Assert.True(Compare(shape, policy, prompt: 300, second: 100, random));
    }

    private static PruningPolicy Evicting(TokenEviction eviction) =>
        new() { KeyStorage = KvStorage.Float32, ValueStorage = KvStorage.Float32, Eviction = eviction };

    private static PruningPolicy WhileDecoding(TokenEviction eviction) => Evicting(eviction with { WhileDecoding = true });

    public void Dispose()
    {
        KvPruneOps.UseKernels(null);
        foreach (var (model, _) in _models.Values)
            model.Dispose();
    }

    // False: a row at the border of the budget was swapped for its neighbour in the ranking, and the rest was left out.
    private bool Compare(AttentionShape shape, PruningPolicy policy, int prompt, int second, Random random)
    {
        const int probed = 40;
        // Two rounds of evictions in every layer.
        var generated = policy.Eviction!.WhileDecoding ? 130 : 3;
        var (model, grams) = ModelOf(shape);
        ReferenceSequence[] layers =
        [
            .. grams.Select((gram, layer) => new ReferenceSequence(
                shape with { Window = shape.Windows[layer % shape.Windows.Count] }, policy, layer, gram)),
        ];
        var rows = TokenRows.Random(shape, prompt + second + (2 * generated) + probed, random.Next());
        var probe = rows[^probed..];
        var isProbed = policy.Eviction.Score == TokenScore.Reconstruction;
        var isDeferred = isProbed || policy.Eviction.Heads == HeadBudgets.Global || random.Next(3) == 0;
        var sequence = model.Manager.CreateSequence(policy);
        var done = 0;
        foreach (var count in new[] { prompt, second })
        {
            var what = $"{policy}, {shape}, {prompt} and {second} tokens, deferred: {isDeferred}, after {done}";
            TokenRows Next(int tokens) => rows[done..(done += tokens)];
            var part = Next(count);
            var expected = ReferenceSequence.Prompt(
                layers, [.. layers.Select(_ => part)], isProbed ? [.. layers.Select(_ => probe)] : null);
            if (isDeferred)
                sequence.OpenDeferredSegment(count, [policy, Policies[0]], probed);
            else
                sequence.OpenSegment(count);
            foreach (var chunk in new[] { ..(count / 3), (count / 3).. })
            {
                if (part[chunk].Count > 0)
                    Same(shape, expected, Step(model, sequence, part[chunk]), chunk.Start.Value, what);
            }

            if (isProbed)
                Step(model, sequence, probe, KvStep.BeginProbe);
            if (isDeferred)
            {
                var sealedSequence = sequence.SealAs(policy);
                sequence.Dispose();
                sequence = sealedSequence;
            }

            if (!SameRows(layers, sequence, shape, what))
            {
                sequence.Dispose();
                return false;
            }

            for (var i = 0; i < generated; i++)
            {
                var token = Next(1);
                float[][] decoded = [.. layers.Select(layer => layer.Decode(token))];
                var actual = Step(model, sequence, token);
                if (policy.Eviction.WhileDecoding && !SameTokens(layers, sequence, $"{what}, decoding {i}"))
                {
                    sequence.Dispose();
                    return false;
                }

                Same(shape, decoded, actual, 0, $"{what}, decoding {i}");
            }

            if (policy.Eviction.WhileDecoding)
                SameRows(layers, sequence, shape, what + ", after decoding");
        }

        sequence.Dispose();
        return true;
    }

    private (PrunedAttentionModel Model, float[][] Grams) ModelOf(AttentionShape shape)
    {
        if (_models.TryGetValue(shape, out var known))
            return known;
        var model = new PrunedAttentionModel(shape);
        float[][] grams = [.. Enumerable.Range(0, shape.Layers).Select(layer => RandomGram.Of(shape, seed: layer))];
        foreach (var (layer, gram) in grams.Index())
            model.Manager.SetOutputGram(layer, gram);
        return _models[shape] = (model, grams);
    }

    private static float[][] Step(
        PrunedAttentionModel model, KvSequence sequence, TokenRows rows, Func<KvSequence, int, KvStep>? begin = null)
    {
        using var step = (begin ?? KvStep.Begin)(sequence, rows.Count);
        var outputs = model.Run([sequence.Handle], [(int)sequence.Length + rows.Count - 1], rows);
        step.Commit();
        return outputs;
    }

    private static void Same(AttentionShape shape, float[][] expected, float[][] actual, int token, string what)
    {
        foreach (var (layer, output) in actual.Index())
        {
            var part = expected[layer].AsSpan(token * shape.QueryWidth, output.Length);
            Close.Rows(part, output, shape.HeadSize, 5e-5, $"{what}, layer {layer}");
        }
    }

    private static bool SameTokens(ReferenceSequence[] layers, KvSequence sequence, string what)
    {
        var same = true;
        foreach (var (layer, reference) in layers.Index())
        {
            foreach (var (head, expected) in reference.Heads.Index())
            {
                var kept = sequence.ReadKept(layer, head);
                bool[] expectedKept = [.. expected.Rows.Select(row => row.IsKept)];
                int[] missing = [.. Enumerable.Range(0, kept.Length).Where(t => expectedKept[t] && !kept[t])];
                int[] others = [.. Enumerable.Range(0, kept.Length).Where(t => kept[t] && !expectedKept[t])];
                Assert.True(
                    missing.Length == others.Length && missing.Length <= 1,
                    $"{what}, layer {layer}, head {head}: tokens {string.Join(' ', others)} in place of {string.Join(' ', missing)}");
                same = same && missing.Length == 0;
            }
        }

        return same;
    }

    private static bool SameRows(ReferenceSequence[] layers, KvSequence sequence, AttentionShape shape, string what)
    {
        if (!SameTokens(layers, sequence, what))
            return false;
        var keys = new float[sequence.Length * shape.HeadSize];
        var values = new float[keys.Length];
        foreach (var (layer, reference) in layers.Index())
        {
            foreach (var (head, expected) in reference.Heads.Index())
            {
                sequence.ReadRows(layer, head, keys, values);
                foreach (var (token, row) in expected.Rows.Index())
                {
                    var at = (token * shape.HeadSize)..((token + 1) * shape.HeadSize);
                    Close.Rows(Array.ConvertAll(row.Key.Stored, x => (float)x), keys[at], shape.HeadSize, 2e-6, what);
                    Close.Rows(Array.ConvertAll(row.Value.Stored, x => (float)x), values[at], shape.HeadSize, 0, what);
                }
            }
        }

        return true;
    }
}
