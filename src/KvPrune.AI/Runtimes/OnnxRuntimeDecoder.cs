using KvPrune.AI.Models;
using KvPrune.AI.Sampling;
using KvPrune.OnnxOps;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace KvPrune.AI.Runtimes;

/// <summary>
/// Runs a decoder by ONNX Runtime's InferenceSession, its KV cache replaced by the native cache manager. The model's
/// files are read, never written.
/// </summary>
internal sealed class OnnxRuntimeDecoder : IDecoderRuntime
{
    private readonly DecoderCache _cache;
    private readonly InferenceSession _session;
    private readonly DecoderInputs _inputs;
    private readonly TensorBuffer<float> _logits = new();
    private readonly string[] _outputNames;

    private OnnxRuntimeDecoder(
        DecoderCache cache, InferenceSession session, DecoderInputs inputs, string logitsName, int vocabularySize)
    {
        _cache = cache;
        _session = session;
        _inputs = inputs;
        _outputNames = [logitsName];
        VocabularySize = vocabularySize;
    }

    public KvModelShape Shape => _cache.Shape;

    public int VocabularySize { get; }

    public int MaxDecodeBatch => int.MaxValue;

    /// <summary>Rewrites and loads a model.</summary>
    /// <param name="folder">The model.</param>
    /// <param name="kvByteLimit">The most bytes of KV cache; null: no limit.</param>
    /// <param name="threads">Threads of a run; null: ONNX Runtime's choice.</param>
    /// <param name="policy">One whose weights are read now; null: when a sequence needs them.</param>
    /// <exception cref="ModelFolderException">The graph does not fit the configuration, or cannot be loaded.</exception>
    /// <exception cref="ModelRewriteException">The graph holds what the pruned operator cannot do.</exception>
    /// <exception cref="KvCacheException">The cache manager cannot serve a model of this shape.</exception>
    /// <exception cref="DllNotFoundException">The native library is missing or does not load.</exception>
    public static OnnxRuntimeDecoder Load(GenAIModelFolder folder, long? kvByteLimit, int? threads, PruningPolicy? policy = null)
    {
        var rewritten = RewrittenDecoder.Load(folder, kvByteLimit, policy);
        InferenceSession? session = null;
        try
        {
            session = CreateSession(folder, rewritten.Model, threads);
            RequireTypes(folder, session, rewritten.Inputs.Names);
            // ONNX Runtime infers what the graph leaves open.
            folder.RequireLogits(session.OutputMetadata[folder.LogitsName].Dimensions[^1]);
            return new OnnxRuntimeDecoder(rewritten.Cache, session, rewritten.Inputs, folder.LogitsName, folder.VocabularySize);
        }
        catch
        {
            session?.Dispose();
            rewritten.Cache.Dispose();
            throw;
        }
    }

    IDecoderSequence IDecoderRuntime.CreateSequence(PruningPolicy policy) => CreateSequence(policy);

    public KvDecoderSequence CreateSequence(PruningPolicy policy) => new(_cache.CreateSequence(policy));

    /// <inheritdoc cref="DecoderCache.Prepare"/>
    public void Prepare(PruningPolicy policy) => _cache.Prepare(policy);

    public IGuidedSampler Guide(Guidance guidance, SamplingOptions sampling) =>
        throw new NotSupportedException("Grammars need the runtime GenAI.");

    public KvBytesEstimate EstimateBytes(PruningPolicy policy, int promptTokens, int generatedTokens, int chunkTokens, int probeTokens = 0) =>
        KvCacheManager.EstimateBytes(Shape, policy, promptTokens, generatedTokens, chunkTokens, probeTokens);

    public KvCacheStatistics GetStatistics() => _cache.GetStatistics();

    public void Prefill(IDecoderSequence sequence, ReadOnlySpan<int> tokens, Span<float> logits, CancellationToken cancellation) =>
        Run([((KvDecoderSequence)sequence).Kv], tokens, logits, cancellation);

    public void Probe(IDecoderSequence sequence, ReadOnlySpan<int> tokens, Span<float> logits, CancellationToken cancellation) =>
        Run([((KvDecoderSequence)sequence).Kv], tokens, logits, cancellation, probe: true);

    public void Decode(ReadOnlySpan<IDecoderSequence> sequences, ReadOnlySpan<int> tokens, Span<float> logits)
    {
        var batch = new KvSequence[sequences.Length];
        for (int i = 0; i < batch.Length; i++) batch[i] = ((KvDecoderSequence)sequences[i]).Kv;
        Run(batch, tokens, logits, CancellationToken.None);
    }

    public void Dispose()
    {
        _session.Dispose();
        _cache.Dispose();
    }

    private static InferenceSession CreateSession(GenAIModelFolder folder, byte[] model, int? threads)
    {
        using var options = new SessionOptions();
        // The graph comes as bytes, so ONNX Runtime has to be told where its external weights are: beside the model file.
        options.AddSessionConfigEntry(
            "session.model_external_initializers_file_folder_path", Path.GetDirectoryName(folder.ModelPath)!);
        if (threads is { } count) options.IntraOpNumThreads = count;
        try
        {
            KvPruneOps.Register(options);
            return new InferenceSession(model, options);
        }
        catch (OnnxRuntimeException error)
        {
            throw new ModelFolderException(folder.ModelPath, null, $"ONNX Runtime cannot load the model: {error.Message}", error);
        }
    }

    private static void RequireTypes(GenAIModelFolder folder, InferenceSession session, string[] inputs)
    {
        void Require(string name, TensorElementType found, TensorElementType wanted)
        {
            if (found != wanted) throw new ModelFolderException(folder.ModelPath, name, $"its elements are {found}; only {wanted} is supported.");
        }
        foreach (string name in inputs) Require(name, session.InputMetadata[name].ElementDataType, TensorElementType.Int64);
        Require(folder.LogitsName, session.OutputMetadata[folder.LogitsName].ElementDataType, TensorElementType.Float);
    }

    /// <summary>Adds tokens [batch, n] to the sequences as one transaction; a probe's are dropped at its end.</summary>
    private void Run(
        KvSequence[] batch, ReadOnlySpan<int> tokens, Span<float> logits, CancellationToken cancellation, bool probe = false)
    {
        int count = batch.Length * VocabularySize;
        ArgumentOutOfRangeException.ThrowIfLessThan(logits.Length, count, nameof(logits));
        Span<float> output = _logits.Take(count);
        using KvStep step = probe ? KvStep.BeginProbe(batch[0], tokens.Length) : KvStep.Begin(batch, tokens.Length / batch.Length);
        OrtValue[] values = _inputs.Fill(batch, tokens);
        try
        {
            using OrtValue logitsValue = _logits.AsTensor(batch.Length, 1, VocabularySize);
            RunSession(values, logitsValue, cancellation);
        }
        finally
        {
            foreach (OrtValue value in values) value.Dispose();
        }
        step.Commit();
        output.CopyTo(logits);
    }

    private void RunSession(OrtValue[] values, OrtValue logits, CancellationToken cancellation)
    {
        using var options = new RunOptions();
        try
        {
            // Unregistering waits for a callback under way, so the options are never touched after their disposal.
            using (cancellation.Register(() => options.Terminate = true))
                _session.Run(options, _inputs.Names, values, _outputNames, [logits]);
            cancellation.ThrowIfCancellationRequested();
        }
        catch (OnnxRuntimeException error)
        {
            cancellation.ThrowIfCancellationRequested();
            throw KvCacheException.FromRun(error) ?? (Exception)error;
        }
    }
}
