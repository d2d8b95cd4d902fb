using KvPrune.AI.Sampling;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>A sequence of the native cache manager, with a generator of GenAI's from its first run on.</summary>
internal sealed class GenAISequence(KvSequence sequence, GeneratorPool generators, Grammars grammars) : IDecoderSequence
{
    private GenAIGenerator? _generator;
    private GrammarSampler? _sampler;

    public IDecoderSequence Fork() => new GenAISequence(sequence.Fork(), generators, grammars);

    public void OpenSegment(int tokens) => sequence.OpenSegment(tokens);

    public ITokenSampler Guide(Guidance guidance, SamplingOptions sampling) =>
        _sampler = grammars.CreateSampler(guidance, new TokenSampler(sampling));

    public KvSequenceInfo GetInfo() => sequence.GetInfo();

    public void Run(ReadOnlySpan<int> tokens, Span<float> logits, CancellationToken cancellation)
    {
        _generator ??= generators.Rent();
        _generator.Run(sequence, tokens, logits, cancellation);
    }

    public void Dispose()
    {
        sequence.Dispose();
        _sampler?.Dispose();
        if (Interlocked.Exchange(ref _generator, null) is { } generator) generators.Return(generator);
    }
}
