using System.Globalization;
using KvPrune.AI.Models;
using KvPrune.AI.Runtimes.GenAI.Interop;
using KvPrune.AI.Sampling;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>
/// Runs a decoder by ONNX Runtime GenAI's generator, its KV cache replaced by the native cache manager. The model's files
/// are read, never written. GenAI moves the rows of a batch, and the beams of a search, without telling the operator, so
/// each run has one sequence.
/// </summary>
internal sealed class GenAIDecoder : IDecoderRuntime
{
    private readonly DecoderCache _cache;
    private readonly ModelHandle _model;
    private readonly GeneratorPool _generators;
    private readonly Grammars _grammars;

    private GenAIDecoder(DecoderCache cache, ModelHandle model, GeneratorPool generators, GenAIModelFolder folder)
    {
        _cache = cache;
        _model = model;
        _generators = generators;
        _grammars = new Grammars(folder);
        VocabularySize = folder.VocabularySize;
    }

    public KvModelShape Shape => _cache.Shape;

    public int VocabularySize { get; }

    public int MaxDecodeBatch => 1;

    /// <summary>What the folder's tokenizer is made from. The decoder's.</summary>
    public ModelHandle Model => _model;

    /// <summary>Rewrites and loads a model.</summary>
    /// <param name="folder">The model.</param>
    /// <param name="kvByteLimit">The most bytes of KV cache; null: no limit.</param>
    /// <param name="threads">Threads of a run; null: the folder's, else ONNX Runtime's choice.</param>
    /// <param name="libraryFolder">Where GenAI's library lies; null: where the application's packages put it.</param>
    /// <param name="policy">One whose weights are read now; null: when a sequence needs them.</param>
    /// <inheritdoc cref="OnnxRuntimeDecoder.Load" path="/exception"/>
    public static GenAIDecoder Load(
        GenAIModelFolder folder, long? kvByteLimit, int? threads, string? libraryFolder, PruningPolicy? policy = null)
    {
        GenAILibrary.EnsureLoaded(libraryFolder);
        var rewritten = RewrittenDecoder.Load(folder, kvByteLimit, policy);
        try
        {
            string settings = SessionSettings(folder, KvPruneOps.LibraryToRegister(), threads);
            ModelHandle model = GenAIModel.Load(folder, rewritten.Model, settings, cpuOnly: false);
            try
            {
                return new GenAIDecoder(rewritten.Cache, model, CreatePool(model, folder), folder);
            }
            catch
            {
                model.Dispose();
                throw;
            }
        }
        catch
        {
            rewritten.Cache.Dispose();
            throw;
        }
    }

    public IDecoderSequence CreateSequence(PruningPolicy policy) =>
        new GenAISequence(_cache.CreateSequence(policy), _generators);

    public IGuidedSampler Guide(Guidance guidance, SamplingOptions sampling) => _grammars.CreateSampler(guidance, new TokenSampler(sampling));

    public KvBytesEstimate EstimateBytes(PruningPolicy policy, int promptTokens, int generatedTokens, int chunkTokens, int probeTokens = 0) =>
        KvCacheManager.EstimateBytes(Shape, policy, promptTokens, generatedTokens, chunkTokens, probeTokens);

    public KvCacheStatistics GetStatistics() => _cache.GetStatistics();

    public void Prefill(IDecoderSequence sequence, ReadOnlySpan<int> tokens, Span<float> logits, CancellationToken cancellation) =>
        Run(sequence, tokens, logits, probe: false, cancellation);

    public void Probe(IDecoderSequence sequence, ReadOnlySpan<int> tokens, Span<float> logits, CancellationToken cancellation) =>
        Run(sequence, tokens, logits, probe: true, cancellation);

    public void Decode(ReadOnlySpan<IDecoderSequence> sequences, ReadOnlySpan<int> tokens, Span<float> logits)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(sequences.Length, 1, nameof(sequences));
        Run(sequences[0], tokens, logits, probe: false, CancellationToken.None);
    }

    public void Dispose()
    {
        _grammars.Dispose();
        _generators.Dispose();
        _model.Dispose();
        _cache.Dispose();
    }

    private void Run(IDecoderSequence sequence, ReadOnlySpan<int> tokens, Span<float> logits, bool probe, CancellationToken cancellation)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(logits.Length, VocabularySize, nameof(logits));
        ((GenAISequence)sequence).Run(tokens, logits[..VocabularySize], probe, cancellation);
    }

    /// <summary>Makes the first generator: some settings of a folder are refused only then.</summary>
    private static GeneratorPool CreatePool(ModelHandle model, GenAIModelFolder folder)
    {
        var generators = new GeneratorPool(model, folder.ContextLength);
        try
        {
            generators.Return(generators.Rent());
            return generators;
        }
        catch (GenAIException error)
        {
            throw new ModelFolderException(folder.Path, null, $"ONNX Runtime GenAI cannot run the model: {error.Message}", error);
        }
    }

    /// <summary>What the folder's session_options are overlaid with, as JSON.</summary>
    internal static string SessionSettings(GenAIModelFolder folder, string operators, int? threads)
    {
        // GenAI's reader knows no \u escapes, which JSON writers are free to use.
        static string Quote(string path) => "\"" + path.Replace(@"\", @"\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal) + "\"";
        List<string> entries =
        [
            $"\"custom_ops_library\":{Quote(operators)}",
            // The graph comes as bytes; without this its external weights would be looked for in the folder itself. GenAI puts
            // the folder before the path.
            $"\"session.model_external_initializers_file_folder_path\":{Quote(Path.GetRelativePath(folder.Path, Path.GetDirectoryName(folder.ModelPath)!))}",
            // Fatal: a run that fails is reported by its exception, and growing a generator has to fail.
            "\"log_severity_level\":4",
        ];
        // 0 is ONNX Runtime's choice; GenAI's own is half of the cores, and 16 at most.
        if ((threads ?? (folder.NamesThreads ? null : 0)) is { } count)
            entries.Add(string.Create(CultureInfo.InvariantCulture, $"\"intra_op_num_threads\":{count}"));
        return """{"model":{"decoder":{"session_options":{""" + string.Join(',', entries) + "}}}}";
    }
}
