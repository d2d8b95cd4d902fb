using KvPrune.AI.Engine;
using KvPrune.AI.Models;
using KvPrune.AI.Runtimes;
using KvPrune.AI.Runtimes.GenAI;
using KvPrune.AI.Runtimes.GenAI.Interop;
using KvPrune.AI.Templates;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Chat;

/// <summary>What reads and runs a model folder: either runtime with its tokenizer and chat template.</summary>
internal sealed class LoadedModel : IDisposable
{
    private readonly IDisposable? _text;

    /// <param name="runtime">What runs the model.</param>
    /// <param name="decoder">The engine's, which disposes it.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="template">Its chat template.</param>
    /// <param name="text">What both belong to; disposed with this.</param>
    public LoadedModel(DecoderRuntimeKind runtime, IDecoderRuntime decoder, IPromptTokenizer tokenizer, IChatTemplate template, IDisposable? text)
    {
        Runtime = runtime;
        Decoder = decoder;
        Tokenizer = tokenizer;
        Template = template;
        _text = text;
    }

    /// <summary>Never <see cref="DecoderRuntimeKind.Auto"/>.</summary>
    public DecoderRuntimeKind Runtime { get; }

    /// <summary>The engine's, which disposes it.</summary>
    public IDecoderRuntime Decoder { get; }

    public IPromptTokenizer Tokenizer { get; }

    public IChatTemplate Template { get; }

    /// <summary>What the runtime cannot do, to be said when it starts.</summary>
    public string Limits => Runtime == DecoderRuntimeKind.GenAI
        ? "decodes requests one after the other" : "enforces no grammars and no JSON response formats";

    /// <summary>Loads a folder with the runtime that the options ask for.</summary>
    /// <exception cref="TokenizerFormatException">The tokenizer cannot be used by the runtime, or by either.</exception>
    /// <exception cref="ChatTemplateException">The chat template cannot be used by the runtime, or by either.</exception>
    public static LoadedModel Load(GenAIModelFolder folder, KvPruneOptions options, QuietLogger logger)
    {
        if (options.Runtime == DecoderRuntimeKind.GenAI) return LoadGenAI(folder, options);
        HfTokenizer tokenizer;
        ChatTemplate template;
        try
        {
            tokenizer = HfTokenizer.Load(folder.TokenizerPath);
            template = ChatTemplate.Load(folder.Path);
        }
        catch (Exception error) when (options.Runtime == DecoderRuntimeKind.Auto && error is TokenizerFormatException or ChatTemplateException)
        {
            return LoadGenAIInstead(folder, options, error, logger);
        }
        folder.RequireTokens(tokenizer.VocabularySize);
        var decoder = OnnxRuntimeDecoder.Load(folder, options.KvCacheByteLimit, options.Threads, options.Policy);
        return new LoadedModel(DecoderRuntimeKind.OnnxRuntime, decoder, tokenizer, template, text: null);
    }

    public void Dispose() => _text?.Dispose();

    private static LoadedModel LoadGenAI(GenAIModelFolder folder, KvPruneOptions options)
    {
        var decoder = GenAIDecoder.Load(folder, options.KvCacheByteLimit, options.Threads, options.GenAILibraryFolder, options.Policy);
        GenAITextModel? text = null;
        try
        {
            text = new GenAITextModel(decoder.Model, folder.TokenizerPath);
            folder.RequireTokens(text.Tokenizer.VocabularySize);
            return new LoadedModel(DecoderRuntimeKind.GenAI, decoder, text.Tokenizer, text.Template, text);
        }
        catch
        {
            text?.Dispose();
            decoder.Dispose();
            throw;
        }
    }

    private static LoadedModel LoadGenAIInstead(GenAIModelFolder folder, KvPruneOptions options, Exception refusal, QuietLogger logger)
    {
        if (!GenAILibrary.Exists(options.GenAILibraryFolder))
            throw WithHint(refusal, "ONNX Runtime GenAI may be able to use it: add the package Microsoft.ML.OnnxRuntimeGenAI, or set GenAILibraryFolder.");
        Log.GenAIChosen(logger, folder.Path, refusal.Message);
        try
        {
            return LoadGenAI(folder, options);
        }
        catch (Exception error) when (error is TokenizerFormatException or ChatTemplateException)
        {
            throw WithHint(refusal, $"ONNX Runtime GenAI cannot use it either: {error.Message}");
        }
    }

    private static Exception WithHint(Exception refusal, string hint) => refusal switch
    {
        TokenizerFormatException error => new TokenizerFormatException(error.File, error.Entry, $"{error.Problem} {hint}", error),
        ChatTemplateException error => new ChatTemplateException(error.File, error.Line, $"{error.Problem} {hint}", error),
        _ => refusal,
    };
}
