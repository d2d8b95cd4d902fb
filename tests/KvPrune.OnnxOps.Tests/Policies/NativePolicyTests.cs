using KvPrune.OnnxOps.Interop;

namespace KvPrune.OnnxOps.Tests.Policies;

/// <summary>Both sides of the interface mean the same by every field, and the native side checks on its own.</summary>
public class NativePolicyTests
{
    private static readonly KvModelShape Shape = new(2, 4, 2, 32, 4096);

    private static readonly TokenEviction Half = new() { Sparsity = 0.5 };

    // Each breaks the rule of one field, which a field out of place would not.
    private static readonly (PruningPolicy Policy, string Words)[] Refusals =
    [
        (new() { KeyStorage = (KvStorage)41 }, "key_storage is 41"),
        (new() { ValueStorage = (KvStorage)42 }, "value_storage is 42"),
        (new() { KeyChannelSparsity = 1.5 }, "key_channel_sparsity is 1.5"),
        (new() { ValueChannelSparsity = 2.5 }, "value_channel_sparsity is 2.5"),
        (new() { KeySparsity = 3.5 }, "key_sparsity is 3.5"),
        (new() { ValueSparsity = 4.5 }, "value_sparsity is 4.5"),
        (new() { RecentWindow = -43 }, "recent_window is -43"),
        (new() { ObservationWindow = -44 }, "observation_window is -44"),
        (new() { KeyPattern = (SparsityPattern)45 }, "key_pattern is 45"),
        (new() { ValuePattern = (SparsityPattern)46 }, "value_pattern is 46"),
        (new() { KeyScore = (KeyScore)47 }, "key_score is 47"),
        (new() { ValueScore = (ValueScore)48 }, "value_score is 48"),
        (new() { OutputError = 5.5 }, "output_error is 5.5"),
        (Evicting(Half with { Score = (TokenScore)49 }), "token_score is 49"),
        (Evicting(Half with { Sparsity = 6.5 }), "token_sparsity is 6.5"),
        (Evicting(new() { TokenBudget = -50 }), "token_budget is -50"),
        (Evicting(Half with { SinkTokens = -51 }), "sink_tokens is -51"),
        (Evicting(Half with { PoolKernel = 52 }), "pool_kernel is 52"),
        (Evicting(Half with { PyramidSlope = 0.5 }), "pyramid_slope is 0.5"),
        (Evicting(Half with { Heads = (HeadBudgets)53 }), "head_budgets is 53"),
        (Evicting(Half with { HeadFloor = 7.5 }), "head_floor is 7.5"),
        (Evicting(Half with { WeighByValue = true, SecondStage = true }), "both halves"),
        (Evicting(Half with { Score = TokenScore.Recency, WeighByValue = true }), "weigh_by_value"),
        (Evicting(Half with { Score = TokenScore.Recency, SecondStage = true }), "second_stage"),
        (Evicting(Half with { WhileDecoding = true }), "while_decoding needs"),
        (With(new() { KeyChannelSparsity = 8.5 }), "layers[1].key_channel_sparsity is 8.5"),
        (With(new() { ValueChannelSparsity = 9.5 }), "layers[1].value_channel_sparsity is 9.5"),
        (With(new() { KeySparsity = 10.5 }), "layers[1].key_sparsity is 10.5"),
        (With(new() { ValueSparsity = 11.5 }), "layers[1].value_sparsity is 11.5"),
        (With(new() { TokenSparsity = 12.5 }), "layers[1].token_sparsity is 12.5"),
        (new() { Layers = [new(), new(), new()] }, "layer_count is 3"),
    ];

    public static TheoryData<int> Cases => [.. Enumerable.Range(0, Refusals.Length)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Every_field_arrives_and_is_checked(int index)
    {
        var (policy, words) = Refusals[index];
        NativeLibraryFile.EnsureLoaded();
        var layers = NativeLayerSparsity.All(policy);
        var status = NativeMethods.kvp_estimate_bytes(new NativeModelShape(Shape), new NativePolicy(policy, layers), 100, 0, 0, 0, out _);
        GC.KeepAlive(layers);
        Assert.Equal(KvCacheStatus.InvalidArgument, status);
        var refusal = Assert.Throws<KvCacheException>(() => status.ThrowOnFailure());
        Assert.Contains(words, refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Layers_must_be_as_many_as_the_models()
    {
        using var manager = new KvCacheManager(Shape);
        var refusal = Assert.Throws<KvCacheException>(() => manager.CreateSequence(new() { Layers = [new(), new(), new()] }));
        Assert.Equal(KvCacheStatus.InvalidArgument, refusal.Status);
        Assert.Contains("layer_count is 3", refusal.Message, StringComparison.Ordinal);
    }

    private static PruningPolicy Evicting(TokenEviction eviction) => new() { Eviction = eviction };

    private static PruningPolicy With(LayerSparsity second) => Evicting(Half) with { Layers = [new(), second] };
}
