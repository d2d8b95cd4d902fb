using KvPrune.AI.Engine;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Chat;

/// <summary>Makes the updates of one answer, which all carry the same identifiers.</summary>
internal sealed class UpdateFactory(string modelId)
{
    private readonly string _responseId = $"kvprune-{Guid.NewGuid():N}";
    private readonly string _messageId = Guid.NewGuid().ToString("N");
    private readonly DateTimeOffset _createdAt = DateTimeOffset.UtcNow;

    public ChatResponseUpdate Text(string text) => Update([new TextContent(text)]);

    /// <summary>The last update: the calls that the answer made, and what it took.</summary>
    public ChatResponseUpdate Last(GenerationEvent.Finished finished, IReadOnlyList<FunctionCallContent> calls)
    {
        GenerationStatistics statistics = finished.Statistics;
        ChatResponseUpdate update = Update([.. calls, new UsageContent(new UsageDetails
        {
            InputTokenCount = statistics.PromptTokens,
            CachedInputTokenCount = statistics.CachedTokens,
            OutputTokenCount = statistics.GeneratedTokens,
            TotalTokenCount = statistics.PromptTokens + statistics.GeneratedTokens,
        })]);
        // An answer that was cut off says so, whatever it called before.
        update.FinishReason = calls.Count > 0 && finished.Reason == ChatFinishReason.Stop ? ChatFinishReason.ToolCalls : finished.Reason;
        update.SetStatistics(statistics);
        return update;
    }

    private ChatResponseUpdate Update(IList<AIContent> contents) => new(ChatRole.Assistant, contents)
    {
        ResponseId = _responseId,
        MessageId = _messageId,
        ModelId = modelId,
        CreatedAt = _createdAt,
    };
}
