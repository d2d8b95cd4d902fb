using KvPrune.OnnxOps;

namespace KvPrune.AI.Runtimes;

/// <summary>The KV cache of one token sequence in a runtime. Used by one thread at a time.</summary>
internal interface IDecoderSequence : IDisposable
{
    /// <summary>A second sequence with the same past. Not while a segment is open.</summary>
    IDecoderSequence Fork();

    /// <summary>Announces a prompt segment of exactly this many tokens; it is compressed when its last token was read.</summary>
    void OpenSegment(int tokens);

    /// <summary>Length and bytes.</summary>
    KvSequenceInfo GetInfo();
}
