using KvPrune.OnnxOps.Tests.Graphs;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>What remains of rows, on rows of the bundled model: its attention is peaked and its channels differ.</summary>
public sealed class ModelPolicyTests(ModelFixture model, ITestOutputHelper output) : IClassFixture<ModelFixture>
{
    private static readonly PruningPolicy[] Policies = [.. PolicyReferenceTests.Policies.Where(p => p.Layers.Count == 0)];

    public static TheoryData<int> Cases => [.. Enumerable.Range(0, Policies.Length)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Rows_and_outputs_equal_the_reference(int policyIndex)
    {
        // Shorter than the windows and a tile, at the border of the first tile that leaves, and beyond.
        foreach (var prompt in new[] { 5, 33, 96, 97, 300, 800 })
        {
            (Close.Worst, StoredRows.Moved, StoredRows.Total) = (0, 0, 0); var t = System.Diagnostics.Stopwatch.StartNew();
            var sequence = model.Compare(Policies[policyIndex], prompt, 3, 40);
            output.WriteLine($"{prompt}: {t.ElapsedMilliseconds} ms {Close.Worst:g3} moved {StoredRows.Moved / (double)StoredRows.Total:g3} {Policies[policyIndex].ToString()[15..180]}");
        }
    }
}
