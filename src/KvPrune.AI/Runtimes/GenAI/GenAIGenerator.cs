using KvPrune.AI.Runtimes.GenAI.Interop;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>
/// One of GenAI's generators over a rewritten graph. It holds no past: of the tokens before a run only their number
/// matters, for mask and positions. So it can serve one sequence after another.
/// </summary>
internal sealed class GenAIGenerator : IDisposable
{
    // No vocabulary has it, so the first node of a graph refuses a run with it.
    private const int NoToken = int.MaxValue;
    private const long NoSequence = 0;

    private readonly GeneratorHandle _generator;
    private readonly TensorHandle _sequenceTensor;
    private readonly long[] _sequence = GC.AllocateArray<long>(1, pinned: true); // read by every run

    public unsafe GenAIGenerator(ModelHandle model, int contextLength)
    {
        NativeMethods.OgaCreateGeneratorParams(model, out GeneratorParamsHandle parameters).ThrowOnFailure();
        using (parameters)
        {
            foreach ((string name, double value) in new (string, double)[]
            {
                ("max_length", contextLength), ("batch_size", 1), ("num_beams", 1), ("num_return_sequences", 1),
                ("chunk_size", 0), // a step is exactly one run
            })
            {
                NativeMethods.OgaGeneratorParamsSetSearchNumber(parameters, name, value).ThrowOnFailure();
            }
            NativeMethods.OgaCreateGenerator(model, parameters, out _generator).ThrowOnFailure();
        }
        fixed (long* sequence = _sequence)
        {
            NativeMethods.OgaCreateTensorFromBuffer(sequence, [1], 1, TensorElement.Int64, out _sequenceTensor).ThrowOnFailure();
            NativeMethods.OgaGenerator_SetModelInput(_generator, KvPruneOps.SequenceHandlesInput, _sequenceTensor).ThrowOnFailure();
        }
    }

    private int TokenCount => checked((int)NativeMethods.OgaGenerator_TokenCount(_generator));

    /// <summary>Adds tokens to a sequence, or none when it throws.</summary>
    /// <param name="sequence">Any sequence of the graph's cache manager.</param>
    /// <param name="tokens">Token ids.</param>
    /// <param name="logits">Receives the logits after the last one, [vocabulary].</param>
    /// <param name="probe">Whether they follow a full deferred segment and are dropped.</param>
    /// <param name="cancellation">Stops the run in progress.</param>
    public void Run(KvSequence sequence, ReadOnlySpan<int> tokens, Span<float> logits, bool probe, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        AlignTo(checked((int)sequence.Length)); // also after a probe or a run that failed, which has left its tokens here
        using KvStep step = probe ? KvStep.BeginProbe(sequence, tokens.Length) : KvStep.Begin(sequence, tokens.Length);
        _sequence[0] = sequence.Handle;
        Append(tokens, cancellation);
        CopyLogits(logits);
        step.Commit();
    }

    public void Dispose()
    {
        _generator.Dispose();
        _sequenceTensor.Dispose();
    }

    private void AlignTo(int length)
    {
        int count = TokenCount;
        if (count > length) NativeMethods.OgaGenerator_RewindTo(_generator, (nuint)length).ThrowOnFailure();
        else if (count < length) Grow(length - count);
    }

    /// <summary>
    /// Makes it longer without running the model: GenAI counts appended tokens before it runs them and goes on counting
    /// them when the run fails.
    /// </summary>
    private void Grow(int tokens)
    {
        int wanted = TokenCount + tokens;
        var none = new int[tokens];
        Array.Fill(none, NoToken);
        _sequence[0] = NoSequence; // where no node looks at the tokens, the first attention node refuses this
        string? refusal = NativeMethods.OgaGenerator_AppendTokens(_generator, none, (nuint)tokens).TakeError();
        if (TokenCount != wanted)
            throw new GenAIException($"A generator could not be brought to {wanted} tokens; it has {TokenCount}: {refusal ?? "no error"}");
    }

    private void Append(ReadOnlySpan<int> tokens, CancellationToken cancellation)
    {
        try
        {
            // Unregistering waits for a callback under way.
            using (cancellation.UnsafeRegister(static generator => ((GenAIGenerator)generator!).SetTerminated("1"), this))
                NativeMethods.OgaGenerator_AppendTokens(_generator, tokens, (nuint)tokens.Length).ThrowOnFailure();
            cancellation.ThrowIfCancellationRequested();
        }
        catch (GenAIException error)
        {
            cancellation.ThrowIfCancellationRequested();
            throw KvCacheException.FromRun(error) ?? (Exception)error;
        }
        finally
        {
            if (cancellation.IsCancellationRequested) SetTerminated("0");
        }
    }

    private void SetTerminated(string value) =>
        NativeMethods.OgaGenerator_SetRuntimeOption(_generator, "terminate_session", value).ThrowOnFailure();

    private unsafe void CopyLogits(Span<float> logits)
    {
        NativeMethods.OgaGenerator_GetLogits(_generator, out TensorHandle tensor).ThrowOnFailure();
        using (tensor)
        {
            NativeMethods.OgaTensorGetData(tensor, out void* data).ThrowOnFailure();
            new ReadOnlySpan<float>(data, logits.Length).CopyTo(logits);
        }
    }
}
