using KvPrune.AI.Sampling;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Runtimes;

/// <summary>The KV cache of one token sequence in a runtime. Used by one thread at a time.</summary>
internal interface IDecoderSequence : IDisposable
{
    /// <summary>A second sequence with the same past. Not while a segment is open.</summary>
    IDecoderSequence Fork();

    /// <summary>Announces a prompt segment of exactly this many tokens; it is compressed when its last token was read.</summary>
    void OpenSegment(int tokens);

    /// <summary>
    /// A sampler that keeps this sequence's answer within a grammar: it takes the tokens that it has drawn for the answer
    /// so far. Asked for at most once; disposed with the sequence.
    /// </summary>
    /// <exception cref="NotSupportedException">The runtime has no grammars.</exception>
    /// <exception cref="ArgumentException">The grammar cannot be used.</exception>
    ITokenSampler Guide(Guidance guidance, SamplingOptions sampling);

    /// <summary>Length and bytes.</summary>
    KvSequenceInfo GetInfo();
}
