using KvPrune.AI.Runtimes;
using KvPrune.Eval.Methods;
using KvPrune.OnnxOps;

namespace KvPrune.Eval.Running;

/// <summary>One prompt, read and then compressed by several methods.</summary>
internal sealed class CompressedPrompt : IDisposable
{
    private const int ChunkTokens = 512;

    // Tokens before a chunk that are repeated with it, so that the model finds its place.
    private const int LeadTokens = 8;

    private CompressedPrompt(IDecoderSequence[] sequences, float[] logits)
    {
        Sequences = sequences;
        Logits = logits;
    }

    /// <summary>A sequence for each method, in the methods' order.</summary>
    public IReadOnlyList<IDecoderSequence> Sequences { get; }

    /// <summary>Logits [vocabulary] after the last token: the same for all, as compression happens after it was read.</summary>
    public float[] Logits { get; }

    /// <summary>Reads the prompt once and seals it as every method says.</summary>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static CompressedPrompt Read(EvalModel model, ReadOnlySpan<int> tokens, IReadOnlyList<Method> methods, CancellationToken cancellation)
    {
        var logits = new float[model.Decoder.VocabularySize];
        var sequences = new List<KvDecoderSequence>();
        try
        {
            foreach (Method method in methods) model.Decoder.Prepare(method.Policy);
            // Its own policy is never applied.
            using KvDecoderSequence source = model.Decoder.CreateSequence(PruningPolicy.Exact);
            int probeTokens = methods.Any(method => method.Policy.NeedsProbes) ? model.RepeatInstruction.Length + LeadTokens + ChunkTokens : 0;
            source.OpenDeferredSegment(tokens.Length, [.. methods.Select(method => method.Policy)], probeTokens);
            ReadChunks(model, source, tokens, logits, cancellation);
            if (probeTokens > 0) Repeat(model, source, tokens, cancellation);
            foreach (Method method in methods)
            {
                cancellation.ThrowIfCancellationRequested();
                sequences.Add(source.SealAs(method.Policy));
            }
            return new CompressedPrompt([.. sequences], logits);
        }
        catch
        {
            sequences.ForEach(sequence => sequence.Dispose());
            throw;
        }
    }

    /// <summary>Reads a segment of a prompt; at its end it is compressed.</summary>
    public static void ReadSegment(
        EvalModel model, IDecoderSequence sequence, ReadOnlySpan<int> tokens, Span<float> logits, CancellationToken cancellation)
    {
        sequence.OpenSegment(tokens.Length);
        ReadChunks(model, sequence, tokens, logits, cancellation);
    }

    public void Dispose()
    {
        foreach (IDecoderSequence sequence in Sequences) sequence.Dispose();
    }

    // KVzip's repeat pass.
    private static void Repeat(EvalModel model, IDecoderSequence sequence, ReadOnlySpan<int> tokens, CancellationToken cancellation)
    {
        var unused = new float[model.Decoder.VocabularySize];
        for (int start = 0; start < tokens.Length; start += ChunkTokens)
        {
            int first = Math.Max(0, start - LeadTokens);
            int end = Math.Min(start + ChunkTokens, tokens.Length);
            model.Decoder.Probe(sequence, [.. model.RepeatInstruction, .. tokens[first..end]], unused, cancellation);
        }
    }

    private static void ReadChunks(
        EvalModel model, IDecoderSequence sequence, ReadOnlySpan<int> tokens, Span<float> logits, CancellationToken cancellation)
    {
        for (int start = 0; start < tokens.Length; start += ChunkTokens)
            model.Decoder.Prefill(sequence, tokens.Slice(start, Math.Min(ChunkTokens, tokens.Length - start)), logits, cancellation);
    }
}
