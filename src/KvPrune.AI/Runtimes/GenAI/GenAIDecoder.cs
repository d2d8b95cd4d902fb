using System.Globalization;
using KvPrune.AI.Models;
using KvPrune.AI.Runtimes.GenAI.Interop;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>
/// Runs a decoder by ONNX Runtime GenAI's generator, its KV cache replaced by the native cache manager. The model's files
/// are read, never written. GenAI moves the rows of a batch, and the beams of a search, without telling the operator, so
/// each run has one sequence.
/// </summary>
internal sealed class GenAIDecoder : IDecoderRuntime
{
    private readonly KvCacheManager _manager;
    private readonly ModelHandle _model;
    private readonly GeneratorPool _generators;
    private readonly Grammars _grammars;

    private GenAIDecoder(KvCacheManager manager, ModelHandle model, GenAIModelFolder folder)
    {
        _manager = manager;
        _model = model;
        _generators = new GeneratorPool(model, folder.ContextLength);
        _grammars = new Grammars(folder);
        VocabularySize = folder.VocabularySize;
    }

    public KvModelShape Shape => _manager.Shape;

    public int VocabularySize { get; }

    public int MaxDecodeBatch => 1;

    /// <summary>What the folder's tokenizer is made from. The decoder's.</summary>
    public ModelHandle Model => _model;

    /// <summary>Rewrites and loads a model.</summary>
    /// <param name="folder">The model.</param>
    /// <param name="kvByteLimit">The most bytes of KV cache; null: no limit.</param>
    /// <param name="threads">Threads of a run; null: the folder's, else ONNX Runtime's choice.</param>
    /// <param name="libraryFolder">Where GenAI's library lies; null: where the application's packages put it.</param>
    /// <inheritdoc cref="OnnxRuntimeDecoder.Load" path="/exception"/>
    public static GenAIDecoder Load(GenAIModelFolder folder, long? kvByteLimit, int? threads, string? libraryFolder)
    {
        GenAILibrary.EnsureLoaded(libraryFolder);
        var rewritten = RewrittenDecoder.Load(folder, kvByteLimit);
        try
        {
            string settings = SessionSettings(KvPruneOps.LibraryToRegister(), threads);
            ModelHandle model = GenAIModel.Load(folder, rewritten.Model, settings, cpuOnly: false);
            return new GenAIDecoder(rewritten.Manager, model, folder);
        }
        catch
        {
            rewritten.Manager.Dispose();
            throw;
        }
    }

    public IDecoderSequence CreateSequence(PruningPolicy policy) =>
        new GenAISequence(_manager.CreateSequence(policy), _generators, _grammars);

    public KvBytesEstimate EstimateBytes(PruningPolicy policy, int promptTokens, int generatedTokens, int chunkTokens) =>
        KvCacheManager.EstimateBytes(Shape, policy, promptTokens, generatedTokens, chunkTokens);

    public KvCacheStatistics GetStatistics() => _manager.GetStatistics();

    public void Prefill(IDecoderSequence sequence, ReadOnlySpan<int> tokens, Span<float> logits, CancellationToken cancellation) =>
        Run(sequence, tokens, logits, cancellation);

    public void Decode(ReadOnlySpan<IDecoderSequence> sequences, ReadOnlySpan<int> tokens, Span<float> logits)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(sequences.Length, 1, nameof(sequences));
        Run(sequences[0], tokens, logits, CancellationToken.None);
    }

    public void Dispose()
    {
        _grammars.Dispose();
        _generators.Dispose();
        _model.Dispose();
        _manager.Dispose();
    }

    private void Run(IDecoderSequence sequence, ReadOnlySpan<int> tokens, Span<float> logits, CancellationToken cancellation)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(logits.Length, VocabularySize, nameof(logits));
        ((GenAISequence)sequence).Run(tokens, logits[..VocabularySize], cancellation);
    }

    // Severity 4, fatal: a run that fails is reported by its exception, and growing a generator has to fail.
    private static string SessionSettings(string operators, int? threads)
    {
        // GenAI's reader knows no \u escapes, which JSON writers are free to use.
        string path = operators.Replace(@"\", @"\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal);
        string threadCount = threads is { } count ? string.Create(CultureInfo.InvariantCulture, $",\"intra_op_num_threads\":{count}") : "";
        return $$$$$"""{"model":{"decoder":{"session_options":{"custom_ops_library":"{{{{{path}}}}}","log_severity_level":4{{{{{threadCount}}}}}}}}}""";
    }
}
