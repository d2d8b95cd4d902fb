namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>Which tokens stay, as <see cref="EvictionReferenceTests"/>, of the bundled model, and with what of their rows.</summary>
public sealed class ModelEvictionTests(ModelFixture model) : IClassFixture<ModelFixture>
{
    private static readonly PruningPolicy[] Policies =
    [
        .. EvictionReferenceTests.Policies,
        PruningPolicy.Extreme,
        PruningPolicy.Compact with
        {
            Eviction = new() { Sparsity = 0.5, Heads = HeadBudgets.Adaptive, HeadFloor = 0.9, SecondStage = true },
        },
        PruningPolicy.Compact with { Eviction = new() { Score = TokenScore.ExpectedAttention, Sparsity = 0.5 } },
        new()
        {
            KeyStorage = KvStorage.Int4,
            ValueStorage = KvStorage.Int4,
            ValueChannelSparsity = 0.25,
            Eviction = new() { Score = TokenScore.AccumulatedAttention, Sparsity = 0.5 },
        },
        new()
        {
            KeySparsity = 0.5,
            KeyScore = KeyScore.QueryMagnitude,
            ValueSparsity = 0.7,
            ValuePattern = SparsityPattern.PerChannel,
            ValueScore = ValueScore.Attention,
            Eviction = new() { Sparsity = 0.7, PyramidSlope = 20 },
        },
        new()
        {
            KeyChannelSparsity = 0.4,
            ValueScore = ValueScore.OutputWeight,
            ValueSparsity = 0.5,
            Eviction = new() { Sparsity = 0.5 },
            Layers = [new() { TokenSparsity = 0.2 }, new(), new() { ValueSparsity = 0.7 }, new(), new() { TokenSparsity = 0.8 }],
        },
    ];

    public static TheoryData<int> Cases => [.. Enumerable.Range(0, Policies.Length)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Kept_tokens_rows_and_outputs_equal_the_reference(int policyIndex)
    {
        var policy = Policies[policyIndex];
        foreach (var prompt in new[] { 5, 33, 96, 97 })
            model.Compare(policy, prompt, generated: 2);
        var ranked = model.Compare(policy, prompt: 300, generated: 30);
        if (policyIndex % 3 == 0)
            ranked = model.Compare(policy, prompt: 800, generated: 2);
        Assert.True(ranked > 0, $"{policy} evicted nothing");
    }

    public static TheoryData<string, TokenScore> Decoding => new()
    {
        { "exact", TokenScore.AccumulatedAttention },
        { "dense", TokenScore.AccumulatedAttention },
        { "near-lossless", TokenScore.AccumulatedAttention },
        { "compact", TokenScore.AccumulatedAttention },
        { "compact", TokenScore.Recency },
    };

    [Theory]
    [MemberData(nameof(Decoding))]
    public void Tokens_evicted_while_decoding_equal_the_reference(string preset, TokenScore score)
    {
        var policy = PruningPolicy.FromName(preset) with { Eviction = new() { Score = score, Sparsity = 0.5, WhileDecoding = true } };
        Assert.True(model.Compare(policy, prompt: 300, generated: 130) > 0);
    }
}
