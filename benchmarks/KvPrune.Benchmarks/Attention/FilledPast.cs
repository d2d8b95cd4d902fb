using KvPrune.Benchmarks.Measuring;
using KvPrune.OnnxOps;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.Benchmarks.Attention;

/// <summary>The past of one set of inputs, compressed under any policy.</summary>
internal sealed class FilledPast : IDisposable
{
    // Bounds the tensors that a long prompt is fed in.
    private const int FillTokens = 2048;

    public FilledPast(AttentionInputs inputs)
    {
        Inputs = inputs;
        Manager = new KvCacheManager(inputs.Shape.ToModelShape(inputs.Tokens));
    }

    public AttentionInputs Inputs { get; }

    public KvCacheManager Manager { get; }

    /// <summary>A new sequence with the past under <paramref name="policy"/>, empty where the inputs have none.</summary>
    public KvSequence Compress(PruningPolicy policy)
    {
        var sequence = Manager.CreateSequence(policy);
        if (Inputs.Past == 0)
            return sequence;
        // With a session of its own, so that reading the prompt may use every core.
        using var options = Sessions.Options(threads: 0);
        KvPruneOps.Register(options);
        using var session = new InferenceSession(AttentionGraphs.Pruned(Inputs.Shape, 1, Manager.Id, Inputs.Softcap), options);
        sequence.OpenSegment(Inputs.Past);
        for (var first = 0; first < Inputs.Past; first += FillTokens)
        {
            var count = Math.Min(FillTokens, Inputs.Past - first);
            using var step = KvStep.Begin(sequence, count);
            using var run = new PrunedRun(session, Inputs, [sequence], first, count, new float[count * Inputs.Shape.QueryWidth]);
            run.Run();
            step.Commit();
        }

        return sequence;
    }

    public void Dispose() => Manager.Dispose();
}
