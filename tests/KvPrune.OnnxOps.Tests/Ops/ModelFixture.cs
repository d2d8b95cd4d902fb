using KvPrune.OnnxOps.Tests.Graphs;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>The operator in the shape of the bundled model, with its output projections.</summary>
public sealed class ModelFixture : IDisposable
{
    private const int Second = 20;

    public ModelFixture()
    {
        Model = new PrunedAttentionModel(Tensors.Shape);
        foreach (var (layer, gram) in Tensors.Grams.Index())
            Model.Manager.SetOutputGram(layer, gram);
    }

    internal static ModelTensors Tensors => ModelTensors.Bundled;

    internal PrunedAttentionModel Model { get; }

    /// <summary>Compares a prompt of the text's first tokens, decoding, another prompt, decoding.</summary>
    /// <returns>How many rows were ranked for eviction.</returns>
    internal int Compare(PruningPolicy policy, int prompt, int generated)
    {
        var tolerance = PolicyReferenceTests.Tolerance(Tensors.Shape, policy, KvPruneOps.Kernels);
        using var sequence = new ComparedSequence(Model, Tensors.Grams, policy, tolerance, $"{prompt} tokens");
        PruningPolicy[]? announced = policy.NeedsDeferredSegment ? [policy] : null;
        var done = 0;
        LayerRows Next(int tokens) => Tensors.Rows[done..(done += tokens)];
        LayerRows[] Probes() => policy.NeedsProbes ? [Tensors.Repeat(done, Math.Max(0, done - 200)), Tensors.Repeat(done, 0)] : [];
        sequence.Prompt(Next(prompt), Probes(), announced, known: Tensors.OutputsOf(prompt));
        sequence.Decode(Next(generated));
        sequence.Prompt(Next(Second), Probes(), announced);
        sequence.Decode(Next(2));
        Assert.True(sequence.Tied <= sequence.Ranked / 100, $"{policy}: {sequence.Tied} ties of {sequence.Ranked}");
        return sequence.Ranked;
    }

    public void Dispose() => Model.Dispose();
}
