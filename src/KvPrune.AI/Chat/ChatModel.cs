using System.Diagnostics;
using KvPrune.AI.Engine;
using KvPrune.AI.Models;
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
    internal const string RepeatInstruction = "\n\nRepeat the text above word for word:\n";

    private readonly LoadedModel _model;

    /// <param name="engine">The engine over the model's decoder; disposed with this.</param>
    /// <param name="model">Tokenizer and template; disposed with this.</param>
    /// <param name="sampling">What requests leave unset.</param>
    /// <param name="options">The policy and the longest answer.</param>
    public ChatModel(InferenceEngine engine, LoadedModel model, SamplingOptions sampling, KvPruneOptions options)
    {
        _model = model;
        Engine = engine;
        Prompts = new PromptBuilder(model.Template, model.Tokenizer, engine.ContextLength);
        Policy = options.Policy;
        MaxOutputTokens = options.MaxOutputTokens;
        Sampling = sampling;
    }

    public InferenceEngine Engine { get; }

    public IPromptTokenizer Tokenizer => _model.Tokenizer;

    public PromptBuilder Prompts { get; }

    /// <summary>What runs the model; never <see cref="DecoderRuntimeKind.Auto"/>.</summary>
    public DecoderRuntimeKind Runtime => _model.Runtime;

    /// <summary>What the chat template makes of tools.</summary>
    public ToolConventions Tools => _model.Template.Tools;

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
        string modelId = options.ModelId ?? Path.GetFileName(Path.TrimEndingDirectorySeparator(folder.Path));
        var model = LoadedModel.Load(folder, options, logger);
        var engine = new InferenceEngine(model.Decoder, new EngineSettings
        {
            ContextLength = folder.ContextLength,
            EndTokens = folder.EndTokens.ToHashSet(),
            MaskedTokens = [.. Enumerable.Range(0, folder.VocabularySize).Where(id => !model.Tokenizer.HasToken(id)).Except(folder.EndTokens)],
            PrefillChunkTokens = options.PrefillChunkTokens,
            RepeatInstruction = model.Tokenizer.Encode(new RenderedPrompt(RepeatInstruction, [Range.All])).Tokens,
            KvCacheByteLimit = options.KvCacheByteLimit,
            MaxCachedPrompts = options.MaxCachedPrompts,
        }, modelId, logger);
        Log.ModelLoaded(
            logger, modelId, folder.Path, Stopwatch.GetElapsedTime(start).TotalMilliseconds, model.Runtime, KvPruneOps.Kernels, model.Limits);
        return new ChatModel(engine, model, folder.Sampling, options);
    }

    /// <summary>Ids of the special tokens among these texts.</summary>
    public int[] SpecialTokens(IEnumerable<string> texts) =>
        [.. texts.Where(Tokenizer.SpecialTokens.ContainsKey).Select(text => Tokenizer.SpecialTokens[text])];

    public void Dispose()
    {
        Engine.Dispose();
        _model.Dispose();
    }
}
