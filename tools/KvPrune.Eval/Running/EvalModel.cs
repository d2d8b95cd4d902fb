using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using KvPrune.AI;
using KvPrune.AI.Chat;
using KvPrune.AI.Engine;
using KvPrune.AI.Models;
using KvPrune.AI.Runtimes;
using KvPrune.AI.Templates;
using KvPrune.AI.Tokenization;
using Microsoft.Extensions.Logging.Abstractions;

namespace KvPrune.Eval.Running;

/// <summary>A loaded model folder with what turns text into its prompts and tokens into text.</summary>
internal sealed class EvalModel : IDisposable
{
    private readonly LoadedModel _model;
    private readonly HashSet<int> _endTokens;

    private EvalModel(GenAIModelFolder folder, LoadedModel model)
    {
        Folder = folder;
        _model = model;
        _endTokens = [.. folder.EndTokens];
        Prompts = new PromptEncoder(model.Template, model.Tokenizer);
        RepeatInstruction = model.Tokenizer.Encode(new RenderedPrompt(ChatModel.RepeatInstruction, [Range.All])).Tokens;
        Identity = Identify(folder);
    }

    public GenAIModelFolder Folder { get; }

    /// <summary>ONNX Runtime's, as the other runtime keeps no prompts that can be compressed several times.</summary>
    public OnnxRuntimeDecoder Decoder => (OnnxRuntimeDecoder)_model.Decoder;

    public PromptEncoder Prompts { get; }

    /// <summary>Tokens that ask for the repetition of what was read.</summary>
    public int[] RepeatInstruction { get; }

    /// <summary>Name, a checksum of configuration and tokenizer, and the bytes of the graph: tells one model from another.</summary>
    public string Identity { get; }

    /// <inheritdoc cref="LoadedModel.Load" path="/exception"/>
    /// <exception cref="ModelFolderException">Something in the folder is missing, broken or contradictory.</exception>
    public static EvalModel Load(string path, int? threads)
    {
        var folder = GenAIModelFolder.Load(path);
        var options = new KvPruneOptions { ModelPath = path, Runtime = DecoderRuntimeKind.OnnxRuntime, Threads = threads };
        return new EvalModel(folder, LoadedModel.Load(folder, options, new QuietLogger(NullLogger.Instance)));
    }

    public bool EndsAnswer(int token) => _endTokens.Contains(token);

    /// <summary>The text of an answer.</summary>
    public string Decode(IEnumerable<int> tokens)
    {
        IStreamingDetokenizer detokenizer = _model.Tokenizer.CreateDetokenizer();
        var text = new StringBuilder();
        foreach (int token in tokens.Where(_model.Tokenizer.HasToken)) text.Append(detokenizer.Append(token));
        return text.Append(detokenizer.Flush()).ToString();
    }

    public void Dispose()
    {
        Decoder.Dispose();
        _model.Dispose();
    }

    private static string Identify(GenAIModelFolder folder)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string file in (string[])["genai_config.json", "tokenizer.json"]) hash.AppendData(File.ReadAllBytes(Path.Combine(folder.Path, file)));
        long bytes = Directory.EnumerateFiles(Path.GetDirectoryName(folder.ModelPath)!, Path.GetFileName(folder.ModelPath) + "*")
            .Sum(file => new FileInfo(file).Length);
        return FormattableString.Invariant(
            $"{Path.GetFileName(Path.TrimEndingDirectorySeparator(folder.Path))} {Convert.ToHexStringLower(hash.GetHashAndReset())[..8]} {bytes}");
    }
}
