namespace KvPrune.OnnxOps.Tests.Policies;

/// <summary>What both sides of the interface make of a policy.</summary>
public class NativePolicyTests
{
    private static readonly KvModelShape Shape = new(2, 4, 2, 32, 4096);

    // Each names one field, so that a field out of place is noticed.
    private static readonly (PruningPolicy Policy, string Words)[] Refusals =
    [
        (new() { ValueChannelSparsity = 0.5 }, "V channels"),
        (new() { KeyPattern = SparsityPattern.PerChannel }, "per-channel"),
        (new() { ValuePattern = SparsityPattern.PerChannel }, "per-channel"),
        (new() { KeyScore = KeyScore.QueryRms }, "ranking K"),
        (new() { ValueScore = ValueScore.OutputWeight }, "ranking V"),
        (PruningPolicy.ForOutputError(0.1), "error budget"),
        (new() { Layers = [new(), new() { KeySparsity = 0.5 }] }, "per layer"),
    ];

    public static TheoryData<int> Cases => [.. Enumerable.Range(0, Refusals.Length)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void What_is_not_built_is_refused_by_name(int index)
    {
        var (policy, words) = Refusals[index];
        using var manager = new KvCacheManager(Shape);
        foreach (var action in new Action[]
        {
            () => manager.CreateSequence(policy), () => KvCacheManager.EstimateBytes(Shape, policy, 100),
        })
        {
            var refusal = Assert.Throws<KvCacheException>(action);
            Assert.Equal(KvCacheStatus.Unsupported, refusal.Status);
            Assert.Contains(words, refusal.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Layers_must_be_as_many_as_the_models()
    {
        using var manager = new KvCacheManager(Shape);
        var refusal = Assert.Throws<KvCacheException>(() => manager.CreateSequence(new() { Layers = [new(), new(), new()] }));
        Assert.Equal(KvCacheStatus.InvalidArgument, refusal.Status);
        Assert.Contains("layer_count is 3", refusal.Message, StringComparison.Ordinal);
    }
}
