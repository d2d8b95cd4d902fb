using System.Text.Json.Nodes;
using KvPrune.AI.Chat;
using KvPrune.AI.Engine;
using KvPrune.AI.Sampling;
using KvPrune.AI.Templates;
using KvPrune.AI.Tests.Engine;
using KvPrune.AI.Tests.Tokenization;
using KvPrune.AI.Tokenization;
using Microsoft.Extensions.Logging.Abstractions;

namespace KvPrune.AI.Tests.Chat;

/// <summary>A client over a runtime that answers what a test wants, with a real tokenizer and chat template.</summary>
internal sealed class ScriptedModel : IDisposable
{
    private readonly HfTokenizer _tokenizer;
    private readonly ChatModel _model;

    /// <param name="template">The chat template.</param>
    /// <param name="answer">The answer to a prompt; special tokens in it are drawn as such.</param>
    /// <param name="specialTokens">Special tokens besides those of the bundled model.</param>
    public ScriptedModel(string template, Func<string, string> answer, params string[] specialTokens)
    {
        int end = TokenizerFixture.Tokenizer.SpecialTokens["<|end|>"];
        _tokenizer = TokenizerFixture.LoadAltered(root =>
        {
            foreach (string token in specialTokens)
            {
                JsonArray added = root["added_tokens"]!.AsArray();
                JsonNode copy = added[^1]!.DeepClone();
                copy["id"] = added[^1]!["id"]!.GetValue<int>() + 1;
                copy["content"] = token;
                added.Add(copy);
            }
        });
        var runtime = new ToyRuntime
        {
            Vocabulary = _tokenizer.VocabularySize,
            Script = sequence =>
            {
                int prompt = sequence.Ends.LastOrDefault();
                string text = _tokenizer.Decode(sequence.Tokens.Take(prompt), skipSpecialTokens: false);
                int[] tokens = [.. _tokenizer.Encode(new RenderedPrompt(answer(text), [])), end];
                if (sequence.Tokens.Count == prompt) Prompts.Add(text);
                return prompt == 0 ? end : tokens[sequence.Tokens.Count - prompt];
            },
        };
        var engine = new InferenceEngine(runtime, new EngineSettings
        {
            ContextLength = 100_000,
            EndTokens = new HashSet<int> { end },
            MaskedTokens = [],
            PrefillChunkTokens = 100_000,
            KvCacheByteLimit = null,
            MaxCachedPrompts = 0,
        }, "scripted", new QuietLogger(NullLogger.Instance));
        var templateTokens = new Dictionary<string, string> { ["bos_token"] = "<s>", ["eos_token"] = "</s>" };
        var parsed = ChatTemplate.Parse(template, "scripted.jinja", templateTokens);
        _model = new ChatModel(
            engine, new LoadedModel(DecoderRuntimeKind.OnnxRuntime, runtime, _tokenizer, parsed, text: null),
            SamplingOptions.Greedy, new KvPruneOptions { MaxOutputTokens = 2_000 });
        Client = new KvPrunedChatClient(_model, ownsModel: true);
    }

    public KvPrunedChatClient Client { get; }

    /// <summary>The prompts in the order in which they were read, segment by segment.</summary>
    public List<string> Prompts { get; } = [];

    public static string Family(string name) =>
        File.ReadAllText(TestFiles.Path($"tests/KvPrune.AI.Tests/Templates/families/{name}.jinja"));

    public void Dispose() => Client.Dispose();
}
