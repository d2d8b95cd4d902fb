using KvPrune.OnnxOps;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>A sequence of the native cache manager, with a generator of GenAI's from its first run on.</summary>
internal sealed class GenAISequence(KvSequence sequence, GeneratorPool generators) : IDecoderSequence
{
    private GenAIGenerator? _generator;

    public IDecoderSequence Fork() => new GenAISequence(sequence.Fork(), generators);

    public void OpenSegment(int tokens) => sequence.OpenSegment(tokens);

    public void OpenDeferredSegment(int tokens, int probeTokens) =>
        sequence.OpenDeferredSegment(tokens, [sequence.Policy], probeTokens);

    public IDecoderSequence Seal() => new GenAISequence(sequence.SealAs(sequence.Policy), generators);

    public KvSequenceInfo GetInfo() => sequence.GetInfo();

    public void Run(ReadOnlySpan<int> tokens, Span<float> logits, bool probe, CancellationToken cancellation)
    {
        _generator ??= generators.Rent();
        _generator.Run(sequence, tokens, logits, probe, cancellation);
    }

    public void Dispose()
    {
        sequence.Dispose();
        if (_generator is null) return;
        generators.Return(_generator);
        _generator = null;
    }
}
