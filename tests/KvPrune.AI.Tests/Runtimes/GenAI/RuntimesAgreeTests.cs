using KvPrune.AI.Chat;
using KvPrune.AI.Engine;
using KvPrune.AI.Tests.Chat;
using KvPrune.OnnxOps;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Tests.Runtimes.GenAI;

/// <summary>The same client, whatever runs the model: answers, counts and what is cached are equal.</summary>
public sealed class RuntimesAgreeTests : IDisposable
{
    private readonly KvPrunedChatClient _genAI;
    private readonly KvPrunedChatClient _onnxRuntime;

    public RuntimesAgreeTests()
    {
        NativeGenAI.Require();
        _genAI = BundledClient.Load(options =>
        {
            options.Runtime = DecoderRuntimeKind.GenAI;
            options.GenAILibraryFolder = NativeGenAI.Folder;
        });
        _onnxRuntime = BundledClient.Load(options => options.Runtime = DecoderRuntimeKind.OnnxRuntime);
    }

    public static TheoryData<string> Presets => [.. PruningPolicy.Presets.Keys];

    public void Dispose()
    {
        _genAI.Dispose();
        _onnxRuntime.Dispose();
    }

    [Theory]
    [MemberData(nameof(Presets))]
    public async Task A_conversation_goes_alike(string preset)
    {
        PruningPolicy policy = PruningPolicy.FromName(preset);
        FactDocument document = FactDocument.Create(seed: 70, sentences: 25, facts: 4);
        List<ChatMessage> messages = [];
        async Task Ask(string question, ChatOptions options)
        {
            messages.Add(new(ChatRole.User, question));
            options.WithPruningPolicy(policy);
            ChatResponse own = await _genAI.GetResponseAsync(messages, options);
            ChatResponse expected = await _onnxRuntime.GetResponseAsync(messages, options);
            Assert.Equal(expected.Text, own.Text);
            Assert.Equal(expected.FinishReason, own.FinishReason);
            Assert.Equal(expected.Usage!.InputTokenCount, own.Usage!.InputTokenCount);
            Assert.Equal(expected.Usage.OutputTokenCount, own.Usage.OutputTokenCount);
            Assert.Equal(expected.Usage.CachedInputTokenCount, own.Usage.CachedInputTokenCount);
            Assert.Equal(expected.GetKvPruneStatistics()!.KvBytes, own.GetKvPruneStatistics()!.KvBytes);
            messages.AddMessages(own);
        }

        await Ask(document.Ask(document.Facts[0]), new());
        await Ask(document.Facts[1].Question, new() { MaxOutputTokens = 2 }); // stops short
        await Ask(document.Facts[2].Question, new());
        messages.RemoveRange(2, messages.Count - 2); // back to after the first answer
        await Ask(document.Facts[3].Question, new());
        await Ask("What else?", new() { Temperature = 1.2f, Seed = 5, MaxOutputTokens = 30 });
        Assert.Equal(_onnxRuntime.GetRequiredService<InferenceEngine>().GetCacheStatistics().TotalBytes,
            _genAI.GetRequiredService<InferenceEngine>().GetCacheStatistics().TotalBytes);
    }

    [Fact]
    public async Task A_request_among_others_gets_what_it_gets_alone()
    {
        FactDocument document = FactDocument.Create(seed: 71, sentences: 25, facts: 6);
        var alone = new List<string>();
        foreach (FactDocument.Fact fact in document.Facts) alone.Add((await _onnxRuntime.GetResponseAsync(document.Ask(fact))).Text);
        ChatResponse[] together = await Task.WhenAll(document.Facts.Select(fact => _genAI.GetResponseAsync(document.Ask(fact))));
        Assert.Equal(alone, together.Select(response => response.Text));
    }

    [Fact]
    public async Task After_a_cancelled_answer_the_conversation_goes_on()
    {
        FactDocument document = FactDocument.Create(seed: 72, sentences: 25, facts: 2);
        List<ChatMessage> messages = [new(ChatRole.User, document.Ask(document.Facts[0]))];
        using var cancellation = new CancellationTokenSource();
        string begun = "";
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (ChatResponseUpdate update in _genAI.GetStreamingResponseAsync(messages, new() { MaxOutputTokens = 500 }, cancellation.Token))
            {
                begun += update.Text;
                await cancellation.CancelAsync();
            }
        });
        messages.Add(new(ChatRole.Assistant, begun));
        messages.Add(new(ChatRole.User, document.Facts[1].Question));
        Assert.Equal((await _onnxRuntime.GetResponseAsync(messages)).Text, (await _genAI.GetResponseAsync(messages)).Text);
    }
}
