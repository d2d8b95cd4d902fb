using KvPrune.AI.Chat;
using KvPrune.AI.Engine;
using KvPrune.OnnxOps;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Tests.Chat;

/// <summary>Documents that several requests share, on the bundled model.</summary>
public sealed class SharedDocumentTests
{
    private static readonly PruningPolicy KvZip = PruningPolicy.NearLossless with
    {
        Eviction = new() { Score = TokenScore.Reconstruction, Sparsity = 0.5, Heads = HeadBudgets.Adaptive },
    };

    public static TheoryData<PruningPolicy> Policies => [PruningPolicy.NearLossless, PruningPolicy.Compact, KvZip, PruningPolicy.Extreme];

    [Theory]
    [MemberData(nameof(Policies))]
    public async Task Questions_continue_from_the_document(PruningPolicy policy)
    {
        FactDocument document = FactDocument.Create(60, 80, 3);
        using KvPrunedChatClient client = Load(policy);
        foreach ((int i, FactDocument.Fact fact) in document.Facts.Index())
        {
            ChatResponse answer = await client.GetResponseAsync(Ask(document, fact));
            Assert.Equal(fact.Answer, answer.Text.Trim());
            GenerationStatistics statistics = answer.GetKvPruneStatistics()!;
            int question = statistics.PromptTokens - statistics.CachedTokens;
            Assert.Equal(i > 0, question < 30);
            if (i == 0) continue;
            using KvPrunedChatClient fresh = Load(policy);
            ChatResponse cold = await fresh.GetResponseAsync(Ask(document, fact));
            Assert.Equal(cold.Text, answer.Text);
            Assert.Equal(0, cold.GetKvPruneStatistics()!.CachedTokens);
        }
    }

    [Fact]
    public async Task Tokens_are_not_evicted_by_queries_of_a_document_end()
    {
        FactDocument document = FactDocument.Create(64, 20, 2);
        using KvPrunedChatClient client = Load(new() { Eviction = new() { Score = TokenScore.WindowAttention, Sparsity = 0.3 } });
        foreach (FactDocument.Fact fact in document.Facts)
        {
            ChatResponse answer = await client.GetResponseAsync(Ask(document, fact));
            Assert.Equal(fact.Answer, answer.Text.Trim());
            Assert.Equal(0, answer.GetKvPruneStatistics()!.CachedTokens);
        }
    }

    [Fact]
    public async Task KVzip_halves_the_document()
    {
        FactDocument document = FactDocument.Create(61, 120, 1);
        async Task<long> BytesUnder(PruningPolicy policy)
        {
            using KvPrunedChatClient client = Load(policy);
            ChatResponse answer = await client.GetResponseAsync(Ask(document, document.Facts[0]));
            Assert.Equal(document.Facts[0].Answer, answer.Text.Trim());
            return answer.GetKvPruneStatistics()!.KvBytes;
        }
        long tail = KvCacheManager.EstimateBytes(new(5, 4, 2, 64, 8192), PruningPolicy.NearLossless, 0).ResidentBytes;
        long whole = await BytesUnder(PruningPolicy.NearLossless) - (2 * tail);
        long half = await BytesUnder(KvZip) - (2 * tail);
        Assert.InRange(half / (double)whole, 0.45, 0.6);
    }

    [Fact]
    public async Task Cancelling_the_repetition_leaves_nothing_behind()
    {
        FactDocument document = FactDocument.Create(62, 80, 1);
        using KvPrunedChatClient client = BundledClient.Load(options => (options.Policy, options.PrefillChunkTokens) = (KvZip, 64));
        var engine = (InferenceEngine)client.GetService(typeof(InferenceEngine))!;
        KvCacheStatistics before = engine.GetCacheStatistics();
        using var cancellation = new CancellationTokenSource();
        var progress = new Watch(read =>
        {
            if (read.ReadTokens > read.TotalTokens / 2 + 30) cancellation.Cancel(); // within the second reading
        });
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.GetResponseAsync(
            Ask(document, document.Facts[0]), new ChatOptions().WithPrefillProgress(progress), cancellation.Token));
        Assert.True(SpinWait.SpinUntil(() => engine.RunningRequests == 0, TimeSpan.FromSeconds(20)));
        Assert.Equal(before.TotalBytes, engine.GetCacheStatistics().TotalBytes);
    }

    [Fact]
    public async Task Empty_and_last_documents_are_answered()
    {
        using KvPrunedChatClient client = Load(KvZip);
        FactDocument document = FactDocument.Create(63, 40, 1);
        foreach (ChatMessage[] messages in new ChatMessage[][]
        {
            [new ChatMessage(ChatRole.User, "").AsSharedDocument(), new(ChatRole.User, document.Ask(document.Facts[0]))],
            [new ChatMessage(ChatRole.User, document.Ask(document.Facts[0])).AsSharedDocument()],
            [new ChatMessage(ChatRole.User, document.Text).AsSharedDocument(), new ChatMessage(ChatRole.User, document.Facts[0].Question).AsSharedDocument()],
        })
        {
            Assert.Equal(document.Facts[0].Answer, (await client.GetResponseAsync(messages)).Text.Trim());
        }
    }

    [Fact]
    public async Task A_document_that_leaves_no_room_for_its_repetition_is_refused()
    {
        using KvPrunedChatClient client = Load(KvZip);
        var message = new ChatMessage(ChatRole.User, string.Concat(Enumerable.Repeat("1 ", 4_075))).AsSharedDocument();
        var error = await Assert.ThrowsAsync<PromptTooLongException>(() => client.GetResponseAsync(message));
        Assert.InRange(error.PromptTokens, 8_100, 8_191);
        Assert.Contains("repeats", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_bytes_that_admission_asks_for_are_enough()
    {
        FactDocument document = FactDocument.Create(65, 40, 1);
        Task<ChatResponse> Answer(KvPrunedChatClient client) => client.GetResponseAsync(Ask(document, document.Facts[0]), new ChatOptions { MaxOutputTokens = 12 });
        long required;
        using (KvPrunedChatClient client = BundledClient.Load(options => (options.Policy, options.KvCacheByteLimit) = (KvZip, 1)))
            required = (await Assert.ThrowsAsync<KvBudgetExceededException>(() => Answer(client))).RequiredBytes;
        using KvPrunedChatClient enough = BundledClient.Load(options => (options.Policy, options.KvCacheByteLimit) = (KvZip, required));
        Assert.Equal(document.Facts[0].Answer, (await Answer(enough)).Text.Trim());
        // Not far more than enough either: the dense rows of the document, which are there at once, are most of it.
        long dense = 2 * new KvModelShape(5, 4, 2, 64, 8192).DenseBytes(500);
        Assert.InRange(required, dense, 4 * dense);
    }

    [Fact]
    public void The_mark_is_a_bool()
    {
        Assert.True(new ChatMessage(ChatRole.User, "x").AsSharedDocument().IsSharedDocument());
        Assert.False(new ChatMessage(ChatRole.User, "x").IsSharedDocument());
        var wrong = new ChatMessage(ChatRole.User, "x") { AdditionalProperties = new() { [KvPruneChatExtensions.SharedDocumentKey] = "yes" } };
        Assert.Contains("must be a bool", Assert.Throws<ArgumentException>(() => wrong.IsSharedDocument()).Message, StringComparison.Ordinal);
    }

    private static KvPrunedChatClient Load(PruningPolicy policy) => BundledClient.Load(options => options.Policy = policy);

    private static ChatMessage[] Ask(FactDocument document, FactDocument.Fact fact) =>
        [new ChatMessage(ChatRole.User, document.Text).AsSharedDocument(), new(ChatRole.User, fact.Question)];

    private sealed class Watch(Action<PrefillProgress> report) : IProgress<PrefillProgress>
    {
        public void Report(PrefillProgress value) => report(value);
    }
}
