using System.Collections.Concurrent;
using KvPrune.AI.Chat;
using KvPrune.AI.Sampling;
using KvPrune.AI.Templates;
using KvPrune.AI.Tests.Runtimes.GenAI;
using KvPrune.AI.Tokenization;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;

namespace KvPrune.AI.Tests.Chat;

public sealed class RuntimeChoiceTests(GenAIClient genai)
{
    private static readonly FactDocument Document = FactDocument.Create(seed: 37, sentences: 12, facts: 2);

    [Fact]
    public void Auto_is_ONNX_Runtime_for_a_folder_that_we_can_read()
    {
        var log = new Messages();
        using var client = new KvPrunedChatClient(Options(BundledModel.Folder, DecoderRuntimeKind.Auto, library: null), log);
        Assert.Contains(log.All, message => message.Contains("runtime OnnxRuntime") && message.Contains("no grammars"));
        foreach (ChatOptions options in new[] { new ChatOptions { ResponseFormat = ChatResponseFormat.Json }, new ChatOptions().WithGuidance(Guidance.Regex("a")) })
        {
            var error = Assert.Throws<NotSupportedException>(() => { _ = client.GetStreamingResponseAsync(Document.Ask(Document.Facts[0]), options); });
            Assert.Contains("Runtime = GenAI", error.Message);
        }
    }

    [Fact]
    public async Task Both_runtimes_give_the_same_answers_to_the_same_prompts()
    {
        using KvPrunedChatClient ours = BundledClient.Load();
        foreach (FactDocument.Fact fact in Document.Facts)
        {
            ChatResponse expected = await ours.GetResponseAsync(Document.Ask(fact));
            ChatResponse answer = await genai.Client.GetResponseAsync(Document.Ask(fact));
            Assert.Equal(expected.Text, answer.Text);
            Assert.Equal(expected.Usage!.InputTokenCount, answer.Usage!.InputTokenCount);
            Assert.Equal(fact.Answer, answer.Text.Trim());
        }
    }

    [Fact]
    public async Task Auto_is_GenAI_for_a_tokenizer_that_only_GenAI_reads()
    {
        NativeGenAI.Require();
        using AlteredFolder folder = UnknownTokenizer();
        var log = new Messages();
        using var client = new KvPrunedChatClient(Options(folder.Path, DecoderRuntimeKind.Auto, NativeGenAI.Folder), log);
        Assert.Contains(log.All, message => message.Contains("GenAI is chosen") && message.Contains("model.type"));
        Assert.Contains(log.All, message => message.Contains("runtime GenAI") && message.Contains("one after the other"));
        ChatResponse answer = await client.GetResponseAsync(Document.Ask(Document.Facts[0]));
        Assert.Equal(Document.Facts[0].Answer, answer.Text.Trim());
    }

    [Fact]
    public void Without_GenAI_the_error_stays_and_says_what_may_help()
    {
        using AlteredFolder folder = UnknownTokenizer();
        string nothing = Directory.CreateTempSubdirectory("kvprune-").FullName;
        var error = Assert.Throws<TokenizerFormatException>(() => new KvPrunedChatClient(Options(folder.Path, DecoderRuntimeKind.Auto, nothing)));
        Assert.Equal("model.type", error.Entry);
        Assert.Contains("Microsoft.ML.OnnxRuntimeGenAI", error.Message);
        var plain = Assert.Throws<TokenizerFormatException>(() => new KvPrunedChatClient(Options(folder.Path, DecoderRuntimeKind.OnnxRuntime, nothing)));
        Assert.DoesNotContain("GenAI", plain.Message.Replace(folder.Path, ""));
        Assert.Throws<DllNotFoundException>(() => new KvPrunedChatClient(Options(folder.Path, DecoderRuntimeKind.GenAI, nothing)));
        Directory.Delete(nothing);
    }

    [Fact]
    public void What_neither_runtime_reads_is_refused_in_the_words_of_both()
    {
        NativeGenAI.Require();
        using AlteredFolder folder = AlteredFolder.WithTemplate("{% no_such_tag %}");
        var error = Assert.Throws<ChatTemplateException>(() => new KvPrunedChatClient(Options(folder.Path, DecoderRuntimeKind.Auto, NativeGenAI.Folder)));
        Assert.Contains("no_such_tag", error.Message);
        Assert.Contains("GenAI cannot use it either", error.Message);
    }

    // GenAI reads any vocabulary with merges, whatever its model calls itself.
    private static AlteredFolder UnknownTokenizer() => new AlteredFolder().Change("tokenizer.json", root => root["model"]!["type"] = "PairMerging");

    private static KvPruneOptions Options(string folder, DecoderRuntimeKind runtime, string? library) =>
        new() { ModelPath = folder, Runtime = runtime, GenAILibraryFolder = library, Threads = 1 };

    private sealed class Messages : ILoggerFactory, ILogger
    {
        public ConcurrentQueue<string> All { get; } = new();

        public ILogger CreateLogger(string categoryName) => this;

        public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            All.Enqueue(formatter(state, exception));

        public void Dispose()
        {
        }
    }
}
