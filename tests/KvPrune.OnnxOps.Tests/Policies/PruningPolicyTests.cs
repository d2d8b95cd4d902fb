namespace KvPrune.OnnxOps.Tests.Policies;

public class PruningPolicyTests
{
    private static readonly TokenEviction Half = new() { Sparsity = 0.5 };

    public static TheoryData<string> Fractions =>
    [
        nameof(PruningPolicy.KeyChannelSparsity), nameof(PruningPolicy.ValueChannelSparsity), nameof(PruningPolicy.KeySparsity),
        nameof(PruningPolicy.ValueSparsity), "Eviction.Sparsity", "Layers[1].KeyChannelSparsity", "Layers[1].ValueChannelSparsity",
        "Layers[1].KeySparsity", "Layers[1].ValueSparsity", "Layers[1].TokenSparsity",
    ];

    [Theory]
    [MemberData(nameof(Fractions))]
    public void Fractions_outside_0_to_1_are_refused_by_name_and_value(string property)
    {
        foreach (var value in new[] { -0.01, 1, 1.5, 1 - 1e-12, double.NaN, double.PositiveInfinity })
            Refused(With(property, value), property, value);
        foreach (var value in new[] { 0, 0.4, 0.999 })
            With(property, value).Validate();
    }

    [Fact]
    public void Eviction_is_refused_by_name_and_value()
    {
        Refused(Evicting(Half with { Score = 0 }), "Eviction.Score", (TokenScore)0);
        Refused(Evicting(Half with { Heads = (HeadBudgets)7 }), "Eviction.Heads", (HeadBudgets)7);
        Refused(Evicting(new() { TokenBudget = 0 }), "Eviction.TokenBudget", 0);
        Refused(Evicting(Half with { SinkTokens = -1 }), "Eviction.SinkTokens", -1);
        foreach (var kernel in new[] { 0, 6, PruningPolicy.MaxWindow + 1 })
            Refused(Evicting(Half with { PoolKernel = kernel }), "Eviction.PoolKernel", kernel);
        foreach (var slope in new[] { -1, 0.5, double.NaN, double.PositiveInfinity })
            Refused(Evicting(Half with { PyramidSlope = slope }), "Eviction.PyramidSlope", slope);
        foreach (var floor in new[] { -0.1, 1.1, double.NaN })
            Refused(Evicting(Half with { HeadFloor = floor }), "Eviction.HeadFloor", floor);
        Evicting(new() { TokenBudget = 1, SinkTokens = 0, PoolKernel = 1, PyramidSlope = 20, HeadFloor = 1 }).Validate();
    }

    [Fact]
    public void An_error_budget_is_a_fraction_above_0()
    {
        foreach (var error in new[] { 0, -0.1, 1, double.NaN, double.PositiveInfinity })
        {
            Refused(new() { OutputError = error }, "OutputError", error);
            Assert.Throws<ArgumentOutOfRangeException>(() => PruningPolicy.ForOutputError(error));
        }

        Assert.Equal(0.02, PruningPolicy.ForOutputError(0.02).OutputError);
    }

    [Fact]
    public void What_cannot_be_combined_is_refused_with_the_reason()
    {
        Clash(new() { ValueScore = ValueScore.Attention }, "ValueScore", "order within the row");
        Clash(
            new() { ValueScore = ValueScore.OutputWeight, ValuePattern = SparsityPattern.PerChannel }, "ValueScore", "within the channel");
        Clash(new() { KeyScore = KeyScore.QueryRms, KeyPattern = SparsityPattern.PerChannel }, "KeyScore", "within the channel");
        Clash(PruningPolicy.Compact with { OutputError = 0.1 }, "OutputError", "sparsities must be 0");
        Clash(new() { OutputError = 0.1, Layers = [new() { KeySparsity = 0.1 }] }, "OutputError", "sparsities must be 0");
        Clash(new() { Layers = [new() { TokenSparsity = 0.1 }] }, "Layers", "needs an Eviction");
        Clash(Evicting(Half with { TokenBudget = 9 }), "Eviction", "only one of them");
        Clash(Evicting(new() { TokenBudget = 9 }) with { Layers = [new() { TokenSparsity = 0 }] }, "Eviction", "only one of them");
        Clash(Evicting(Half with { Heads = HeadBudgets.Global, PyramidSlope = 20 }), "Eviction", "leaves the layers' budgets");
        LayerSparsities layers = [new() { TokenSparsity = 0.1 }];
        Clash(Evicting(Half with { Heads = HeadBudgets.Global }) with { Layers = layers }, "Eviction", "leaves the layers' budgets");
        Clash(Evicting(Half with { PyramidSlope = 20 }) with { Layers = layers }, "Eviction", "both set the layers' budgets");
        var recency = Half with { Score = TokenScore.Recency };
        Clash(Evicting(recency with { Heads = HeadBudgets.Adaptive }), "Eviction", "every head keeps the same");
        Clash(Evicting(recency with { Heads = HeadBudgets.Global }), "Eviction", "every head keeps the same");
        Clash(Evicting(recency with { WeighByValue = true }), "Eviction", "without weights");
        Clash(Evicting(recency with { SecondStage = true }), "Eviction", "without weights");
        Clash(Evicting(Half with { SecondStage = true, WeighByValue = true }), "Eviction", "both halves");
        foreach (var score in Enum.GetValues<TokenScore>().Except([TokenScore.Recency, TokenScore.AccumulatedAttention]))
            Clash(Evicting(Half with { Score = score, WhileDecoding = true }), "Eviction", $"TokenScore.{score} knows the prompt's");
        var heavy = Half with { Score = TokenScore.AccumulatedAttention, WhileDecoding = true };
        Clash(Evicting(heavy with { Heads = HeadBudgets.Global }), "Eviction", "divides a document's tokens");
        Clash(Evicting(heavy with { WeighByValue = true }), "Eviction", "values are compressed");
        Clash(Evicting(heavy with { SecondStage = true }), "Eviction", "values are compressed");
        (Evicting(heavy with { Heads = HeadBudgets.Adaptive, PyramidSlope = 20 }) with { OutputError = 0.1 }).Validate();
        (Evicting(Half with { Heads = HeadBudgets.Adaptive, SecondStage = true }) with
        {
            KeyChannelSparsity = 0.4,
            ValueChannelSparsity = 0.1,
            ValuePattern = SparsityPattern.PerChannel,
            ValueScore = ValueScore.Attention,
            ValueSparsity = 0.5,
            Layers = layers,
        }).Validate();
    }

    [Fact]
    public void Policies_are_equal_when_all_their_properties_are()
    {
        PruningPolicy Make() => Evicting(Half with { PyramidSlope = 2 }) with
        {
            Layers = [new() { KeySparsity = 0.5 }, new() { ValueChannelSparsity = 0.1 }],
        };
        Assert.Equal(Make(), Make());
        Assert.Equal(Make().GetHashCode(), Make().GetHashCode());
        Assert.NotEqual(Make(), Make() with { Layers = [new() { KeySparsity = 0.5 }] });
        Assert.NotEqual(Make(), Make() with { Layers = [new() { KeySparsity = 0.5 }, new()] });
        Assert.NotEqual(Make(), Make() with { Eviction = Half });
        Assert.Contains("ValueChannelSparsity = 0.1", Make().ToString(), StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => LayerSparsities.Create([null!]));
    }

    [Fact]
    public void Windows_are_refused_by_name_and_value()
    {
        Refused(PruningPolicy.Dense with { RecentWindow = -1 }, "RecentWindow", -1);
        Refused(PruningPolicy.Dense with { RecentWindow = int.MaxValue }, "RecentWindow", int.MaxValue);
        Refused(PruningPolicy.Dense with { ObservationWindow = 0 }, "ObservationWindow", 0);
        (PruningPolicy.Dense with { RecentWindow = 0, ObservationWindow = 1 }).Validate();
    }

    [Fact]
    public void Unknown_members_are_refused_by_name_and_value()
    {
        Refused(PruningPolicy.Dense with { KeyStorage = (KvStorage)9 }, "KeyStorage", (KvStorage)9);
        Refused(PruningPolicy.Dense with { ValueStorage = (KvStorage)(-1) }, "ValueStorage", (KvStorage)(-1));
        Refused(PruningPolicy.Dense with { KeyPattern = (SparsityPattern)2 }, "KeyPattern", (SparsityPattern)2);
        Refused(PruningPolicy.Dense with { ValuePattern = (SparsityPattern)2 }, "ValuePattern", (SparsityPattern)2);
        Refused(PruningPolicy.Dense with { KeyScore = (KeyScore)3 }, "KeyScore", (KeyScore)3);
        Refused(PruningPolicy.Dense with { ValueScore = (ValueScore)3 }, "ValueScore", (ValueScore)3);
    }

    [Fact]
    public void Presets_are_valid_distinct_and_found_by_name()
    {
        Assert.Equal(
            ["balanced", "compact", "dense", "exact", "extreme", "near-lossless"], PruningPolicy.Presets.Keys.Order(StringComparer.Ordinal));
        Assert.Equal(6, PruningPolicy.Presets.Values.Distinct().Count());
        foreach (var (name, policy) in PruningPolicy.Presets)
        {
            policy.Validate();
            Assert.Same(policy, PruningPolicy.FromName(name.ToUpperInvariant()));
        }

        var refusal = Assert.Throws<ArgumentException>(() => PruningPolicy.FromName("kompakt"));
        Assert.Contains("kompakt", refusal.Message, StringComparison.Ordinal);
        Assert.Contains("near-lossless", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Policies_that_evict_what_the_last_queries_do_not_ask_for_are_query_aware()
    {
        Assert.False(PruningPolicy.Compact.IsQueryAware);
        Assert.False(PruningPolicy.ForOutputError(0.1).IsQueryAware);
        foreach (var score in Enum.GetValues<TokenScore>())
            Assert.Equal(score == TokenScore.WindowAttention, Evicting(Half with { Score = score }).IsQueryAware);
    }

    [Fact]
    public void Policies_that_weigh_values_need_the_output_projection()
    {
        var policy = new PruningPolicy { ValueScore = ValueScore.OutputWeight };
        Assert.False(policy.NeedsOutputWeights);
        Assert.True((policy with { ValueSparsity = 0.1 }).NeedsOutputWeights);
        Assert.True((policy with { OutputError = 0.1 }).NeedsOutputWeights);
        Assert.False(Evicting(Half).NeedsOutputWeights);
        Assert.True(Evicting(Half with { WeighByValue = true }).NeedsOutputWeights);
        Assert.True(Evicting(Half with { SecondStage = true }).NeedsOutputWeights);
    }

    [Fact]
    public void Dense_bytes_are_two_bytes_for_each_entry_of_K_and_V()
    {
        Assert.Equal(2L * 16 * 8 * 64 * 2 * 1000, new KvModelShape(16, 32, 8, 64, 131072).DenseBytes(1000));
    }

    private static PruningPolicy Evicting(TokenEviction eviction) => new() { Eviction = eviction };

    private static PruningPolicy With(string property, double value) => property switch
    {
        nameof(PruningPolicy.KeyChannelSparsity) => new() { KeyChannelSparsity = value },
        nameof(PruningPolicy.ValueChannelSparsity) => new() { ValueChannelSparsity = value },
        nameof(PruningPolicy.KeySparsity) => new() { KeySparsity = value },
        nameof(PruningPolicy.ValueSparsity) => new() { ValueSparsity = value },
        "Eviction.Sparsity" => Evicting(Half with { Sparsity = value }),
        "Layers[1].KeyChannelSparsity" => new() { Layers = [new(), new() { KeyChannelSparsity = value }] },
        "Layers[1].ValueChannelSparsity" => new() { Layers = [new(), new() { ValueChannelSparsity = value }] },
        "Layers[1].KeySparsity" => new() { Layers = [new(), new() { KeySparsity = value }] },
        "Layers[1].ValueSparsity" => new() { Layers = [new(), new() { ValueSparsity = value }] },
        _ => Evicting(Half) with { Layers = [new(), new() { TokenSparsity = value }] },
    };

    private static void Clash(PruningPolicy policy, string property, string reason)
    {
        var refusal = Assert.Throws<ArgumentException>(policy.Validate);
        Assert.Equal(property, refusal.ParamName);
        Assert.Contains(reason, refusal.Message, StringComparison.Ordinal);
    }

    private static void Refused(PruningPolicy policy, string property, object value)
    {
        var refusal = Assert.Throws<ArgumentOutOfRangeException>(policy.Validate);
        Assert.Equal(property, refusal.ParamName);
        Assert.Equal(value, refusal.ActualValue);
    }
}
