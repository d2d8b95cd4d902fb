using KvPrune.OnnxOps.Tests.Graphs;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>Which tokens stay, on rows of the bundled model.</summary>
public sealed class ModelEvictionTests(ModelFixture model, ITestOutputHelper output) : IClassFixture<ModelFixture>
{
    private static readonly PruningPolicy[] Policies = EvictionReferenceTests.Policies;

    public static TheoryData<int> Cases => [.. Enumerable.Range(0, Policies.Length)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Kept_tokens_rows_and_outputs_equal_the_reference(int policyIndex)
    {
        foreach (var prompt in new[] { 5, 33, 96, 97, 300, 800 })
        {
            var t = System.Diagnostics.Stopwatch.StartNew();
            var sequence = model.Compare(Policies[policyIndex], prompt, 3, 40);
            output.WriteLine($"{prompt}: {t.ElapsedMilliseconds} ms, tied {sequence.Tied} of {sequence.Ranked} {sequence.Worst:g3}, {Close.Worst:g3}");
        }
    }
}
