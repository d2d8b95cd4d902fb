using KvPrune.Eval.Methods;

namespace KvPrune.Eval.Tests.Methods;

public sealed class MethodCatalogueTests
{
    [Fact]
    public void Names_are_unique_and_policies_can_be_used()
    {
        Assert.Equal(MethodCatalogue.All.Count, MethodCatalogue.All.Select(method => method.Name).Distinct().Count());
        Assert.Equal(MethodCatalogue.All.Count, MethodCatalogue.All.Select(method => method.Fingerprint).Distinct().Count());
        Assert.All(MethodCatalogue.All, method => method.Policy.Validate());
    }

    [Fact]
    public void Names_and_families_choose_and_the_baseline_always_comes_first()
    {
        Assert.Equal(["dense", "int8"], Names("INT8"));
        Assert.Equal(["dense", "think-k20", "think-k30", "think-k40", "think-k50", "think-k60", "token-v70"], Names("token-v70", "ThinK K"));
        Assert.Equal(MethodCatalogue.All, MethodCatalogue.Select([]));
    }

    private static string[] Names(params string[] names) => [.. MethodCatalogue.Select(names).Select(method => method.Name)];
}
