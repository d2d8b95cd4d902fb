using KvPrune.AI.Runtimes;
using KvPrune.AI.Templates;
using KvPrune.AI.Tokenization;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Models;

/// <summary>Tries each part of a model folder as loading it would, and goes on to the next one after a failure.</summary>
internal sealed class FolderInspector(string folder)
{
    // Long enough for the dense tail, whose size does not grow, to weigh little; a multiple of all tile sizes.
    private const int LongPrompt = 128_000;

    private readonly List<ModelObstacle> _obstacles = [];

    public ModelInspection Inspect()
    {
        GenAIModelFolder? configuration = Try(ModelPart.Configuration, () => GenAIModelFolder.Load(folder));
        GroupQueryAttentionRewriter? graph = configuration is null
            ? null : Try(ModelPart.Graph, () => ReadGraph(configuration));
        HfTokenizer? tokenizer = Try(ModelPart.Tokenizer, () => HfTokenizer.Load(Path.Combine(folder, GenAIModelFolder.TokenizerFile)));
        if (configuration is not null && tokenizer is not null)
            Try(ModelPart.Configuration, () => { configuration.RequireTokens(tokenizer.VocabularySize); return configuration; });
        Try(ModelPart.ChatTemplate, () => ChatTemplate.Load(folder));
        KvModelShape? shape = graph?.Shape(configuration!.ContextLength);
        Dictionary<string, long>? bytes = shape is null ? null : Try(ModelPart.Graph, () => BytesPer1000(shape));
        return new ModelInspection
        {
            Folder = folder,
            Configuration = configuration,
            Shape = shape,
            AttentionNodes = graph?.AttentionNodes ?? [],
            KvBytesPer1000Tokens = bytes ?? [],
            ModelBytes = configuration is null ? 0 : ModelBytes(configuration),
            Obstacles = _obstacles,
        };
    }

    private static GroupQueryAttentionRewriter ReadGraph(GenAIModelFolder configuration)
    {
        var graph = GroupQueryAttentionRewriter.Load(configuration.ModelPath);
        configuration.RequireShape(graph.Shape(configuration.ContextLength));
        _ = new DecoderInputs(configuration, graph.InputNames);
        configuration.RequireLogits(graph);
        graph.Rewrite(cacheManagerId: 0, LogitsPositions.Last);
        return graph;
    }

    private static Dictionary<string, long> BytesPer1000(KvModelShape shape)
    {
        KvModelShape unlimited = shape with { MaxTokens = LongPrompt };
        return PruningPolicy.Presets.ToDictionary(
            preset => preset.Key,
            preset => KvCacheManager.EstimateBytes(unlimited, preset.Value, LongPrompt).ResidentBytes / (LongPrompt / 1000));
    }

    /// <summary>The ONNX file and what lies beside it under its name, as its external weights do.</summary>
    private static long ModelBytes(GenAIModelFolder configuration) => Directory
        .EnumerateFiles(Path.GetDirectoryName(configuration.ModelPath)!, Path.GetFileName(configuration.ModelPath) + "*")
        .Select(file => File.ResolveLinkTarget(file, returnFinalTarget: true) as FileInfo ?? new FileInfo(file))
        .Sum(file => file.Exists ? file.Length : 0); // a link may lead nowhere

    private T? Try<T>(ModelPart part, Func<T> read) where T : class
    {
        try
        {
            return read();
        }
        catch (Exception error) when (error is ModelFolderException or ModelRewriteException or KvCacheException
            or TokenizerFormatException or ChatTemplateException)
        {
            _obstacles.Add(new ModelObstacle(part, error.Message));
            return null;
        }
    }
}
