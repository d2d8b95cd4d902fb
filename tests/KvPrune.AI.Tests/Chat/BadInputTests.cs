using KvPrune.AI.Chat;
using KvPrune.OnnxOps;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Tests.Chat;

/// <summary>Everything here has to be refused at the call, before anything is awaited.</summary>
public sealed class BadInputTests(BundledClient bundled)
{
    private static readonly ChatMessage Hello = new(ChatRole.User, "Hello");

    [Fact]
    public void Null_and_empty_message_lists_are_refused_at_once()
    {
        Assert.Throws<ArgumentNullException>(() => { _ = bundled.Client.GetResponseAsync((IEnumerable<ChatMessage>)null!); });
        Assert.Throws<ArgumentNullException>(() => { _ = bundled.Client.GetStreamingResponseAsync((IEnumerable<ChatMessage>)null!); });
        Assert.Throws<ArgumentException>(() => { _ = bundled.Client.GetStreamingResponseAsync([]); });
        Assert.Throws<ArgumentException>(() => { _ = bundled.Client.GetStreamingResponseAsync([null!]); });
        Refused<ArgumentException>([new(ChatRole.User, [new TextContent("a"), null!])], null, "null");
    }

    [Fact]
    public void Contents_and_roles_that_cannot_be_read_are_named()
    {
        Refused<NotSupportedException>([new(ChatRole.User, [new DataContent(new byte[] { 1 }, "image/png")])], null, "DataContent");
        Refused<NotSupportedException>([new(ChatRole.Tool, [new FunctionResultContent("1", "x")])], null, "tool");
        Refused<NotSupportedException>([new(ChatRole.Assistant, [new FunctionCallContent("1", "f")])], null, "FunctionCallContent");
    }

    [Fact]
    public void Options_that_cannot_be_followed_are_named()
    {
        Refused<NotSupportedException>([Hello], new() { Tools = [AIFunctionFactory.Create(() => 1, "lookup")] }, "lookup");
        Refused<NotSupportedException>([Hello], new() { ResponseFormat = ChatResponseFormat.Json }, "ResponseFormat");
        Refused<ArgumentException>([Hello], new() { FrequencyPenalty = float.NaN }, "FrequencyPenalty");
        Refused<ArgumentException>([Hello], new() { PresencePenalty = float.NegativeInfinity }, "PresencePenalty");
        var beyond = new AdditionalPropertiesDictionary { ["logit_bias"] = new Dictionary<int, float> { [3072] = 1 } };
        Refused<ArgumentException>([Hello], new() { AdditionalProperties = beyond }, "token 3072");
        Refused<NotSupportedException>([Hello], new() { ModelId = "another" }, "another");
        Refused<NotSupportedException>([Hello], new() { ConversationId = "c7" }, "c7");
        Refused<ArgumentException>([Hello], new() { Temperature = -1 }, "Temperature");
        Refused<ArgumentException>([Hello], new() { TopK = 0 }, "TopK");
        Refused<ArgumentException>([Hello], new() { TopP = 1.1f }, "TopP");
        Refused<ArgumentException>([Hello], new() { MaxOutputTokens = 0 }, "MaxOutputTokens");
        Refused<ArgumentException>([Hello], new() { StopSequences = [""] }, "StopSequences");
        Refused<ArgumentException>([Hello], new ChatOptions().WithPruningPolicy(new PruningPolicy { ValueSparsity = 1 }), "ValueSparsity");
        Refused<ArgumentException>([Hello], new() { AdditionalProperties = new() { ["kvprune.policy"] = "compact" } }, "kvprune.policy");
    }

    [Fact]
    public async Task Neutral_options_are_accepted()
    {
        ChatResponse answer = await bundled.Client.GetResponseAsync([Hello], new()
        {
            Tools = [AIFunctionFactory.Create(() => 1, "lookup")], ToolMode = ChatToolMode.None,
            ResponseFormat = ChatResponseFormat.Text, FrequencyPenalty = 0, PresencePenalty = 0,
            Instructions = "Answer briefly.", MaxOutputTokens = 2, ModelId = "tiny-retrieval-llama",
        });
        ChatResponse spelledOut = await bundled.Client.GetResponseAsync(
            [new(ChatRole.System, "Answer briefly."), Hello], new() { MaxOutputTokens = 2 });
        Assert.Equal(spelledOut.Text, answer.Text);
        Assert.Equal(spelledOut.Usage!.InputTokenCount, answer.Usage!.InputTokenCount);
        Assert.Equal(answer.Usage.InputTokenCount, spelledOut.Usage.CachedInputTokenCount);
    }

    private void Refused<TException>(ChatMessage[] messages, ChatOptions? options, string culprit) where TException : Exception
    {
        var error = Assert.ThrowsAny<TException>(() => { _ = bundled.Client.GetStreamingResponseAsync(messages, options); });
        Assert.Contains(culprit, error.Message, StringComparison.Ordinal);
    }
}
