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

    internal static readonly PruningPolicy[] Policies =
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
    ];

    private static readonly PruningPolicy[] WhileDecoding =
    [
        Decoding(new() { Score = TokenScore.AccumulatedAttention, Sparsity = 0.5 }),
        Decoding(new() { Score = TokenScore.AccumulatedAttention, TokenBudget = 170, SinkTokens = 70 }) with { RecentWindow = 0 },
        Decoding(new() { Score = TokenScore.AccumulatedAttention, Sparsity = 0.6, Heads = HeadBudgets.Adaptive, PyramidSlope = 3 }),
        Decoding(new() { Score = TokenScore.AccumulatedAttention, Sparsity = 0.6 }) with { KeyChannelSparsity = 0.4, ValueSparsity = 0.5 },
        Decoding(new() { Score = TokenScore.AccumulatedAttention, Sparsity = 0.6 }) with
        {
            KeySparsity = 0.5,
            KeyPattern = SparsityPattern.PerChannel,
        },
        Decoding(new() { Score = TokenScore.Recency, TokenBudget = 150 }) with { RecentWindow = 40, ValueChannelSparsity = 0.3 },
    ];

    // Per shape, with the Gram matrices of each layer.
    private readonly Dictionary<AttentionShape, (PrunedAttentionModel Model, float[][] Grams)> _models = [];

    public static TheoryData<int> Cases => [.. Enumerable.Range(0, Policies.Length)];

    public static TheoryData<int> DecodingCases => [.. Enumerable.Range(0, WhileDecoding.Length)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Kept_tokens_rows_and_outputs_equal_the_reference(int policyIndex)
    {
        Compare(Policies[policyIndex], policyIndex, generated: 3);
    }

    [Theory]
    [MemberData(nameof(DecodingCases))]
    public void Tokens_evicted_while_decoding_equal_the_reference(int policyIndex)
    {
        // Two rounds in every layer.
        Compare(WhileDecoding[policyIndex], policyIndex, generated: 130);
    }

    private void Compare(PruningPolicy policy, int policyIndex, int generated)
    {
        var random = new Random(policyIndex);
        var (ranked, tied) = (0, 0);
        foreach (var (index, shape) in Shapes.Index())
        {
            KvPruneOps.UseKernels(index == policyIndex % Shapes.Length ? "scalar" : null);
            // Shorter than every window, and long enough for budgets to differ.
            foreach (var prompt in new[] { random.Next(3, 30), random.Next(96, 140), random.Next(270, 330) })
            {
                var sequence = Compare(shape, policy, prompt, second: random.Next(2, 150), generated, random);
                (ranked, tied) = (ranked + sequence.Ranked, tied + sequence.Tied);
            }
        }

        Assert.True(ranked > 0 && tied <= ranked / 100, $"{tied} ties of {ranked}");
    }

    [Fact]
    public void A_group_may_have_more_heads_than_a_pass_takes()
    {
        var shape = new AttentionShape(19, 1, 32, Rotary: true);
        Assert.Equal(0, Compare(shape, WhileDecoding[0], prompt: 150, second: 70, generated: 130, new Random(2)).Tied);
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
        Assert.Equal(0, Compare(shape, policy, prompt: 300, second: 100, generated: 3, random).Tied);
    }

    private static PruningPolicy Evicting(TokenEviction eviction) =>
        new() { KeyStorage = KvStorage.Float32, ValueStorage = KvStorage.Float32, Eviction = eviction };

    private static PruningPolicy Decoding(TokenEviction eviction) => Evicting(eviction with { WhileDecoding = true });

    public void Dispose()
    {
        KvPruneOps.UseKernels(null);
        foreach (var (model, _) in _models.Values)
            model.Dispose();
    }

    private ComparedSequence Compare(AttentionShape shape, PruningPolicy policy, int prompt, int second, int generated, Random random)
    {
        const int probed = 40;
        var (model, grams) = ModelOf(shape);
        var rows = LayerRows.Same(TokenRows.Random(shape, prompt + second + (2 * generated) + probed, random.Next()));
        var isProbed = policy.Eviction!.Score == TokenScore.Reconstruction;
        var isDeferred = isProbed || policy.Eviction.Heads == HeadBudgets.Global || random.Next(3) == 0;
        using var sequence = new ComparedSequence(
            model, grams, policy, 5e-5, $"{shape}, {prompt} and {second} tokens, deferred: {isDeferred}");
        var done = 0;
        foreach (var count in new[] { prompt, second })
        {
            LayerRows Next(int tokens) => rows[done..(done += tokens)];
            sequence.Prompt(Next(count), isProbed ? [rows[^probed..]] : [], isDeferred ? [policy, Policies[0]] : null);
            sequence.Decode(Next(generated));
        }

        return sequence;
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
}
