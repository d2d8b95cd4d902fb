using System.Globalization;
using KvPrune.AI.Sampling;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Models;

/// <summary>A model folder in ONNX Runtime GenAI's format: what its genai_config.json says of a decoder.</summary>
public sealed record GenAIModelFolder
{
    internal const string ConfigFile = "genai_config.json";

    internal const string TokenizerFile = "tokenizer.json";

    private const string OperatorsEntry = "custom_ops_library";

    private GenAIModelFolder() { }

    /// <summary>Full path of the folder.</summary>
    public required string Path { get; init; }

    /// <summary>The architecture, as the entry model.type names it; empty if it does not.</summary>
    public required string ModelType { get; init; }

    /// <summary>Full path of the decoder's ONNX file.</summary>
    public required string ModelPath { get; init; }

    /// <summary>Tokens that prompt and answer may have together: context_length, or search.max_length if that is less.</summary>
    public required int ContextLength { get; init; }

    /// <summary>Logits of one position.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Tokens that end an answer.</summary>
    public required IReadOnlyList<int> EndTokens { get; init; }

    /// <summary>Query heads of a layer.</summary>
    public required int QueryHeads { get; init; }

    /// <summary>KV heads of a layer.</summary>
    public required int KvHeads { get; init; }

    /// <summary>Channels of a head.</summary>
    public required int HeadSize { get; init; }

    /// <summary>Attention layers.</summary>
    public required int Layers { get; init; }

    /// <summary>How tokens are drawn when a request does not say: greedy unless search.do_sample is set.</summary>
    public required SamplingOptions Sampling { get; init; }

    /// <summary>Entries that would change answers but are not supported, with their values.</summary>
    public required IReadOnlyList<string> IgnoredSettings { get; init; }

    /// <summary>Whether session_options say how many threads a run has.</summary>
    internal bool NamesThreads { get; private init; }

    internal string InputIdsName { get; private init; } = "";

    internal string AttentionMaskName { get; private init; } = "";

    internal string PositionIdsName { get; private init; } = "";

    internal string LogitsName { get; private init; } = "";

    /// <summary>Full path of the folder's tokenizer.json.</summary>
    internal string TokenizerPath => System.IO.Path.Combine(Path, TokenizerFile);

    private string ConfigPath => System.IO.Path.Combine(Path, ConfigFile);

    /// <summary>Reads the folder's configuration. The model itself is not loaded.</summary>
    /// <exception cref="ModelFolderException">Something is missing, broken or contradictory.</exception>
    public static GenAIModelFolder Load(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        folder = System.IO.Path.GetFullPath(folder);
        if (!Directory.Exists(folder)) throw new ModelFolderException(folder, null, "the model folder does not exist.");
        ConfigEntry config = ConfigEntry.ReadFile(System.IO.Path.Combine(folder, ConfigFile));
        ConfigEntry model = config.Object("model");
        ConfigEntry decoder = model.Object("decoder");
        ConfigEntry? inputs = decoder.OptionalObject("inputs");
        ConfigEntry? session = decoder.OptionalObject("session_options");
        ConfigEntry? search = config.OptionalObject("search");
        if (session?.OptionalText(OperatorsEntry) is not null)
            throw session.Value.Wrong(OperatorsEntry, "the model needs custom operators of its own, which are not supported.");
        string modelPath = System.IO.Path.Combine(folder, decoder.Text("filename"));
        if (!File.Exists(modelPath)) throw decoder.Wrong("filename", $"the file {modelPath} is missing.");
        int vocabulary = model.PositiveInteger("vocab_size");
        int context = model.PositiveInteger("context_length");
        int queryHeads = decoder.PositiveInteger("num_attention_heads");
        int kvHeads = decoder.PositiveInteger("num_key_value_heads");
        if (queryHeads % kvHeads != 0)
            throw decoder.Wrong("num_key_value_heads", $"{kvHeads} does not divide num_attention_heads, {queryHeads}.");
        return new GenAIModelFolder
        {
            Path = folder,
            ModelType = model.OptionalText("type") ?? "",
            ModelPath = modelPath,
            ContextLength = Math.Min(context, search?.OptionalPositiveInteger("max_length") ?? context),
            VocabularySize = vocabulary,
            EndTokens = model.TokenIds("eos_token_id", vocabulary),
            QueryHeads = queryHeads,
            KvHeads = kvHeads,
            HeadSize = decoder.PositiveInteger("head_size"),
            Layers = decoder.PositiveInteger("num_hidden_layers"),
            Sampling = ReadSampling(search),
            IgnoredSettings = ReadIgnored(search),
            NamesThreads = session?.OptionalNumber("intra_op_num_threads") is not null,
            InputIdsName = inputs?.OptionalText("input_ids") ?? "input_ids",
            AttentionMaskName = inputs?.OptionalText("attention_mask") ?? "attention_mask",
            PositionIdsName = inputs?.OptionalText("position_ids") ?? "position_ids",
            LogitsName = decoder.OptionalObject("outputs")?.OptionalText("logits") ?? "logits",
        };
    }

    /// <summary>Compares the configuration with the graph.</summary>
    internal void RequireShape(KvModelShape shape)
    {
        Require("num_hidden_layers", Layers, shape.Layers, "attention layers");
        Require("num_attention_heads", QueryHeads, shape.QueryHeads, "query heads");
        Require("num_key_value_heads", KvHeads, shape.KvHeads, "KV heads");
        Require("head_size", HeadSize, shape.HeadSize, "channels in a head");
    }

    /// <summary>Compares the configuration with the graph's logits.</summary>
    internal void RequireLogits(GroupQueryAttentionRewriter graph)
    {
        if (!graph.OutputNames.Contains(LogitsName))
            throw new ModelFolderException(ModelPath, LogitsName, "the graph has no output of this name.");
        RequireLogits(graph.LastDimension(LogitsName));
    }

    /// <summary>Compares the configuration with the graph's logits; −1 when the graph leaves their number open.</summary>
    internal void RequireLogits(long graphLogits)
    {
        if (graphLogits >= 0 && graphLogits != VocabularySize)
            throw new ModelFolderException(ConfigPath, "model.vocab_size", $"{VocabularySize}, but the graph {ModelPath} has {graphLogits} logits.");
    }

    /// <summary>Compares the configuration with the tokenizer.</summary>
    internal void RequireTokens(int tokens)
    {
        if (tokens > VocabularySize)
            throw new ModelFolderException(ConfigPath, "model.vocab_size", $"{VocabularySize}, but {TokenizerPath} has {tokens} token ids.");
    }

    private void Require(string name, int configured, int inGraph, string what)
    {
        if (configured != inGraph)
            throw new ModelFolderException(ConfigPath, $"model.decoder.{name}", $"{configured}, but the graph {ModelPath} has {inGraph} {what}.");
    }

    private static string[] ReadIgnored(ConfigEntry? search)
    {
        (string Name, float Neutral)[] entries =
        [
            ("no_repeat_ngram_size", 0), ("min_length", 0), ("num_beams", 1),
            ("num_return_sequences", 1), ("diversity_penalty", 0),
        ];
        return
        [
            .. from entry in entries
               let value = search?.OptionalNumber(entry.Name)
               where value is not null && value != entry.Neutral
               select string.Create(CultureInfo.InvariantCulture, $"search.{entry.Name} = {value}"),
        ];
    }

    private static SamplingOptions ReadSampling(ConfigEntry? search)
    {
        var sampling = SamplingOptions.Greedy with { RepetitionPenalty = search?.OptionalNumber("repetition_penalty") };
        Require(search, "repetition_penalty", sampling);
        if (search?.OptionalFlag("do_sample") is true)
        {
            // GenAI takes 50 for a missing top_k, and 0 for no limit; its top_p means nothing at 0.
            int? topK = search?.OptionalNumber("top_k") is 0 ? null : search?.OptionalPositiveInteger("top_k") ?? 50;
            sampling = sampling with { Temperature = search?.OptionalNumber("temperature"), TopK = topK };
            Require(search, "temperature", sampling);
            sampling = sampling with { TopP = search?.OptionalNumber("top_p") is { } topP and not 0 ? topP : null };
            Require(search, "top_p", sampling);
        }
        return sampling;
    }

    /// <summary>Names the entry that was read last if the settings can no longer be used.</summary>
    private static void Require(ConfigEntry? search, string entry, SamplingOptions sampling)
    {
        try
        {
            sampling.Validate();
        }
        catch (ArgumentException error)
        {
            throw search!.Value.Wrong(entry, error.Message);
        }
    }
}
