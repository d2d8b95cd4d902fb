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
    /// Announces a prompt segment that stays uncompressed when its last token was read, so that <see cref="Seal"/> can choose
    /// among all of its rows, also by what <see cref="IDecoderRuntime.Probe"/> reads after it.
    /// </summary>
    /// <param name="tokens">Length of the segment.</param>
    /// <param name="probeTokens">The most tokens of a probe.</param>
    void OpenDeferredSegment(int tokens, int probeTokens);

    /// <summary>A second sequence with the same past, the full deferred segment compressed. This one is as before.</summary>
    IDecoderSequence Seal();

    /// <summary>Length and bytes.</summary>
    KvSequenceInfo GetInfo();
}
