namespace KvPrune.OnnxOps.Tests.Policies;

public class PruningPolicyTests
{
    [Theory]
    [InlineData(nameof(PruningPolicy.KeyChannelSparsity))]
    [InlineData(nameof(PruningPolicy.KeySparsity))]
    [InlineData(nameof(PruningPolicy.ValueSparsity))]
    public void Fractions_outside_0_to_1_are_refused_by_name_and_value(string property)
    {
        foreach (var value in new[] { -0.01, 1, 1.5, 1 - 1e-12, double.NaN, double.PositiveInfinity })
            Refused(With(property, value), property, value);
        foreach (var value in new[] { 0, 0.4, 0.999 })
            With(property, value).Validate();
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
    public void Unknown_storage_is_refused_by_name_and_value()
    {
        Refused(PruningPolicy.Dense with { KeyStorage = (KvStorage)9 }, "KeyStorage", (KvStorage)9);
        Refused(PruningPolicy.Dense with { ValueStorage = (KvStorage)(-1) }, "ValueStorage", (KvStorage)(-1));
    }

    [Fact]
    public void Presets_are_valid_distinct_and_found_by_name()
    {
        Assert.Equal(
            ["balanced", "compact", "dense", "exact", "near-lossless"], PruningPolicy.Presets.Keys.Order(StringComparer.Ordinal));
        Assert.Equal(5, PruningPolicy.Presets.Values.Distinct().Count());
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
    public void Only_ThinK_looks_at_queries()
    {
        Assert.True(PruningPolicy.Compact.IsQueryAware);
        Assert.False((PruningPolicy.Compact with { KeyChannelSparsity = 0 }).IsQueryAware);
    }

    [Fact]
    public void Dense_bytes_are_two_bytes_for_each_entry_of_K_and_V()
    {
        Assert.Equal(2L * 16 * 8 * 64 * 2 * 1000, new KvModelShape(16, 32, 8, 64, 131072).DenseBytes(1000));
    }

    private static PruningPolicy With(string property, double value) => property switch
    {
        nameof(PruningPolicy.KeyChannelSparsity) => new() { KeyChannelSparsity = value },
        nameof(PruningPolicy.KeySparsity) => new() { KeySparsity = value },
        _ => new() { ValueSparsity = value },
    };

    private static void Refused(PruningPolicy policy, string property, object value)
    {
        var refusal = Assert.Throws<ArgumentOutOfRangeException>(policy.Validate);
        Assert.Equal(property, refusal.ParamName);
        Assert.Equal(value, refusal.ActualValue);
    }
}
