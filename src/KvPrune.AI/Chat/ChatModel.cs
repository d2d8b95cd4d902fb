using System.Diagnostics;
using KvPrune.AI.Engine;
using KvPrune.AI.Models;
using KvPrune.AI.Runtimes;
using KvPrune.AI.Runtimes.GenAI;
using KvPrune.AI.Sampling;
using KvPrune.AI.Templates;
using KvPrune.AI.Tokenization;
using KvPrune.OnnxOps;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace KvPrune.AI.Chat;

/// <summary>A loaded model folder: engine, tokenizer and chat template, with the defaults of its requests.</summary>
internal sealed class ChatModel : IDisposable
{
    private ChatModel(
        InferenceEngine engine, IPromptTokenizer tokenizer, IChatTemplate template, GenAIModelFolder folder, KvPruneOptions options)
    {
        Engine = engine;
        Tokenizer = tokenizer;
        Prompts = new PromptBuilder(template, tokenizer);
        Policy = options.Policy;
        MaxOutputTokens = options.MaxOutputTokens;
        Sampling = folder.Sampling;
    }

    public InferenceEngine Engine { get; }

    public IPromptTokenizer Tokenizer { get; }

    public PromptBuilder Prompts { get; }

    public PruningPolicy Policy { get; }

    public int MaxOutputTokens { get; }

    public SamplingOptions Sampling { get; }

    /// <summary>Loads the folder that validated options name.</summary>
    public static ChatModel Load(KvPruneOptions options, ILoggerFactory? loggers)
    {
        long start = Stopwatch.GetTimestamp();
        var logger = new QuietLogger((loggers ?? NullLoggerFactory.Instance).CreateLogger(EngineTelemetry.Name));
        var folder = GenAIModelFolder.Load(options.ModelPath!);
        if (folder.IgnoredSettings.Count > 0) Log.SettingsIgnored(logger, folder.Path, string.Join(", ", folder.IgnoredSettings));
        var tokenizer = HfTokenizer.Load(folder.TokenizerPath);
        folder.RequireTokens(tokenizer.VocabularySize);
        var template = ChatTemplate.Load(folder.Path);
        string modelId = options.ModelId ?? Path.GetFileName(Path.TrimEndingDirectorySeparator(folder.Path));
        IDecoderRuntime runtime = LoadRuntime(folder, options);
        if (runtime.MaxDecodeBatch == 1) Log.DecodesOneByOne(logger, modelId);
        var engine = new InferenceEngine(runtime, new EngineSettings
        {
            ContextLength = folder.ContextLength,
            EndTokens = folder.EndTokens.ToHashSet(),
            MaskedTokens = [.. Enumerable.Range(0, folder.VocabularySize).Where(id => !tokenizer.HasToken(id)).Except(folder.EndTokens)],
            PrefillChunkTokens = options.PrefillChunkTokens,
            KvCacheByteLimit = options.KvCacheByteLimit,
            MaxCachedPrompts = options.MaxCachedPrompts,
        }, modelId, logger);
        Log.ModelLoaded(logger, modelId, folder.Path, Stopwatch.GetElapsedTime(start).TotalMilliseconds, KvPruneOps.Kernels);
        return new ChatModel(engine, tokenizer, template, folder, options);
    }

    private static IDecoderRuntime LoadRuntime(GenAIModelFolder folder, KvPruneOptions options) =>
        options.Runtime == DecoderRuntimeKind.GenAI
            ? GenAIDecoder.Load(folder, options.KvCacheByteLimit, options.Threads, options.GenAILibraryFolder)
            : OnnxRuntimeDecoder.Load(folder, options.KvCacheByteLimit, options.Threads);

    /// <summary>Ids of the special tokens among these texts.</summary>
    public int[] SpecialTokens(IEnumerable<string> texts) =>
        [.. texts.Where(Tokenizer.SpecialTokens.ContainsKey).Select(text => Tokenizer.SpecialTokens[text])];

    public void Dispose() => Engine.Dispose();
}
