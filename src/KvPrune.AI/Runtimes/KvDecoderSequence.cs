using KvPrune.OnnxOps;

namespace KvPrune.AI.Runtimes;

/// <summary>A sequence of the native cache manager.</summary>
internal sealed class KvDecoderSequence(KvSequence sequence) : IDecoderSequence
{
    public KvSequence Kv => sequence;

    public IDecoderSequence Fork() => new KvDecoderSequence(sequence.Fork());

    public void OpenSegment(int tokens) => sequence.OpenSegment(tokens);

    /// <inheritdoc cref="KvSequence.OpenDeferredSegment"/>
    public void OpenDeferredSegment(int tokens, IReadOnlyList<PruningPolicy> policies, int probeTokens = 0) =>
        sequence.OpenDeferredSegment(tokens, policies, probeTokens);

    /// <inheritdoc cref="KvSequence.SealAs"/>
    public KvDecoderSequence SealAs(PruningPolicy policy) => new(sequence.SealAs(policy));

    void IDecoderSequence.OpenDeferredSegment(int tokens, int probeTokens) =>
        OpenDeferredSegment(tokens, [sequence.Policy], probeTokens);

    IDecoderSequence IDecoderSequence.Seal() => SealAs(sequence.Policy);

    public KvSequenceInfo GetInfo() => sequence.GetInfo();

    public void Dispose() => sequence.Dispose();
}
