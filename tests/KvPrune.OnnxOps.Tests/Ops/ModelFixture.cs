using KvPrune.OnnxOps.Tests.Graphs;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>The operator in the shape of the bundled model, with its output projections.</summary>
public sealed class ModelFixture : IDisposable
{
    private readonly PrunedAttentionModel _model;

    public ModelFixture()
    {
        _model = new PrunedAttentionModel(Tensors.Shape);
        foreach (var (layer, gram) in Tensors.Grams.Index())
            _model.Manager.SetOutputGram(layer, gram);
    }

    internal static ModelTensors Tensors => ModelTensors.Bundled;

    /// <summary>Compares a prompt of the text's first tokens, decoding, another prompt and decoding.</summary>
    /// <returns>The finished comparison, for its counts.</returns>
    internal ComparedSequence Compare(PruningPolicy policy, int prompt, int generated, int second)
    {
        var isProbed = policy.NeedsProbes;
        var tolerance = Math.Max(2e-3, PolicyReferenceTests.Tolerance(Tensors.Shape, policy, KvPruneOps.Kernels));
        using var sequence = new ComparedSequence(_model, Tensors.Grams, policy, tolerance, $"{prompt} tokens");
        var done = 0;
        LayerRows Next(int tokens) => Tensors.Rows[done..(done += tokens)];
        // The model repeats the beginning of what it has read.
        LayerRows? Probe(int from) => isProbed
            ? Tensors.After(done + prompt, Tensors.Text[from..(from + Math.Min(100, prompt))]) : null;
        var probe = Probe(0);
        sequence.Prompt(
            Next(prompt), probe, policy.NeedsDeferredSegment,
            known: [.. Tensors.Outputs.Select(output => output[..(prompt * Tensors.Shape.QueryWidth)])]);
        sequence.Decode(Next(generated));
        probe = isProbed ? Tensors.After(done + second, Tensors.Text[..Math.Min(60, second)]) : null;
        sequence.Prompt(Next(second), probe, policy.NeedsDeferredSegment);
        sequence.Decode(Next(2));
        return sequence;
    }

    public void Dispose() => _model.Dispose();
}
