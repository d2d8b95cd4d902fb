using KvPrune.AI.Engine;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Chat;

/// <summary>Makes the updates of one answer, which all carry the same identifiers.</summary>
internal sealed class UpdateFactory(string modelId)
{
    private readonly string _responseId = $"kvprune-{Guid.NewGuid():N}";
    private readonly string _messageId = Guid.NewGuid().ToString("N");
    private readonly DateTimeOffset _createdAt = DateTimeOffset.UtcNow;

    public ChatResponseUpdate Create(GenerationEvent generationEvent) => generationEvent switch
    {
        GenerationEvent.Text text => Update(new TextContent(text.Value)),
        GenerationEvent.Finished finished => Last(finished),
        _ => throw new ArgumentException($"{generationEvent.GetType().Name} is not part of an answer.", nameof(generationEvent)),
    };

    private ChatResponseUpdate Last(GenerationEvent.Finished finished)
    {
        GenerationStatistics statistics = finished.Statistics;
        ChatResponseUpdate update = Update(new UsageContent(new UsageDetails
        {
            InputTokenCount = statistics.PromptTokens,
            CachedInputTokenCount = statistics.CachedTokens,
            OutputTokenCount = statistics.GeneratedTokens,
            TotalTokenCount = statistics.PromptTokens + statistics.GeneratedTokens,
        }));
        update.FinishReason = finished.Reason;
        update.SetStatistics(statistics);
        return update;
    }

    private ChatResponseUpdate Update(AIContent content) => new(ChatRole.Assistant, [content])
    {
        ResponseId = _responseId,
        MessageId = _messageId,
        ModelId = modelId,
        CreatedAt = _createdAt,
    };
}
