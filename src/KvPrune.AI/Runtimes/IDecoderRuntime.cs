using KvPrune.AI.Sampling;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Runtimes;

/// <summary>
/// Runs one model. Every call either adds its tokens to all of its sequences or, when it throws, to none.
/// Used by one thread at a time, except <see cref="EstimateBytes"/>, <see cref="GetStatistics"/> and
/// <see cref="Guide"/>.
/// </summary>
internal interface IDecoderRuntime : IDisposable
{
    /// <summary>Heads, layers and the longest sequence.</summary>
    KvModelShape Shape { get; }

    /// <summary>Logits of one position.</summary>
    int VocabularySize { get; }

    /// <summary>The most sequences of one <see cref="Decode"/>.</summary>
    int MaxDecodeBatch { get; }

    IDecoderSequence CreateSequence(PruningPolicy policy);

    /// <summary>
    /// A sampler that keeps one answer within a grammar. It may take long to make: this is called beside the thread that
    /// runs the model. The caller disposes it.
    /// </summary>
    /// <exception cref="NotSupportedException">The runtime, or the model's tokenizer, has no grammars.</exception>
    /// <exception cref="ArgumentException">The grammar cannot be used; the message is the grammar engine's.</exception>
    /// <exception cref="ObjectDisposedException">The runtime was disposed.</exception>
    IGuidedSampler Guide(Guidance guidance, SamplingOptions sampling);

    /// <summary>
    /// Bytes of one sequence: a prompt of one segment, read in chunks, then generated tokens. The segment is deferred and
    /// followed by probes if the policy needs that.
    /// </summary>
    KvBytesEstimate EstimateBytes(PruningPolicy policy, int promptTokens, int generatedTokens, int chunkTokens, int probeTokens = 0);

    /// <summary>Bytes of all sequences; shared tiles count once.</summary>
    KvCacheStatistics GetStatistics();

    /// <summary>Reads the next tokens of a sequence's open segment.</summary>
    /// <param name="sequence">The sequence.</param>
    /// <param name="tokens">Token ids [chunk], at least one.</param>
    /// <param name="logits">Receives the logits after the last token, [vocabulary].</param>
    /// <param name="cancellation">Stops the run in progress.</param>
    /// <exception cref="OperationCanceledException">The run was stopped; the sequence is as before.</exception>
    void Prefill(IDecoderSequence sequence, ReadOnlySpan<int> tokens, Span<float> logits, CancellationToken cancellation);

    /// <summary>Reads tokens after a sequence's full deferred segment and drops them again: the sequence stays as it is.</summary>
    /// <param name="sequence">The sequence; its segment was opened for as many probe tokens.</param>
    /// <param name="tokens">Token ids, at least one.</param>
    /// <param name="logits">Receives the logits after the last token, [vocabulary].</param>
    /// <param name="cancellation">Stops the run in progress.</param>
    /// <exception cref="OperationCanceledException">The run was stopped.</exception>
    void Probe(IDecoderSequence sequence, ReadOnlySpan<int> tokens, Span<float> logits, CancellationToken cancellation);

    /// <summary>Adds one token to each sequence.</summary>
    /// <param name="sequences">The batch; at most <see cref="MaxDecodeBatch"/>, lengths may differ.</param>
    /// <param name="tokens">Token ids [batch].</param>
    /// <param name="logits">Receives the logits [batch, vocabulary].</param>
    void Decode(ReadOnlySpan<IDecoderSequence> sequences, ReadOnlySpan<int> tokens, Span<float> logits);
}
