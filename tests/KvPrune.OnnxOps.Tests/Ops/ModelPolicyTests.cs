namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>
/// What is left of rows, as <see cref="PolicyReferenceTests"/>, of the bundled model: its attention is peaked, and its channels
/// differ in size.
/// </summary>
public sealed class ModelPolicyTests(ModelFixture model) : IClassFixture<ModelFixture>
{
    private static readonly PruningPolicy[] Policies =
    [
        .. PolicyReferenceTests.Policies.Where(policy => policy.Layers.Count == 0),
        new() { ValueSparsity = 0.7, ValuePattern = SparsityPattern.PerChannel, ValueScore = ValueScore.Attention },
        PruningPolicy.Compact with
        {
            Layers =
            [
                new(), new() { KeyChannelSparsity = 0, KeySparsity = 0.5 }, new() { ValueSparsity = 0 },
                new() { ValueChannelSparsity = 0.5 }, new() { KeyChannelSparsity = 0.8 },
            ],
        },
    ];

    public static TheoryData<int> Cases => [.. Enumerable.Range(0, Policies.Length)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Rows_and_outputs_equal_the_reference(int policyIndex)
    {
        var policy = Policies[policyIndex];
        // Shorter than the windows and a tile, around the first tile that leaves, and beyond.
        foreach (var prompt in new[] { 5, 33, 96, 97 })
            model.Compare(policy, prompt, generated: 2);
        model.Compare(policy, prompt: 300, generated: 30);
        if (policyIndex % 8 == 0)
            model.Compare(policy, prompt: 800, generated: 2);
    }
}
