using System.Runtime.CompilerServices;
using KvPrune.AI.Chat;
using KvPrune.AI.Engine;
using KvPrune.OnnxOps;
using Microsoft.Extensions.AI;

namespace LongDocumentChat;

/// <summary>
/// A conversation about one document. The document stands before the first question; every later request repeats the
/// history, of which the client recognises the part that it has already read and pruned.
/// </summary>
internal sealed class DocumentChat(IChatClient client, string document, PruningPolicy policy)
{
    private const int MaxAnswerTokens = 256;

    private readonly List<ChatMessage> _history = [];
    private readonly List<GenerationStatistics> _statistics = [];

    /// <summary>Whether the next question makes the client read the document.</summary>
    public bool IsDocumentUnread => _history.Count == 0;

    /// <summary>What each answer took.</summary>
    public IReadOnlyList<GenerationStatistics> Statistics => _statistics;

    /// <summary>Asks and streams the answer. A question that fails leaves the conversation as it was.</summary>
    public async IAsyncEnumerable<string> AskAsync(
        string question, IProgress<PrefillProgress>? progress, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var message = new ChatMessage(ChatRole.User, IsDocumentUnread ? $"{document}\n{question}" : question);
        var options = new ChatOptions { Temperature = 0, MaxOutputTokens = MaxAnswerTokens }.WithPruningPolicy(policy);
        if (progress is not null)
            options = options.WithPrefillProgress(progress);

        var updates = new List<ChatResponseUpdate>();
        await foreach (var update in client.GetStreamingResponseAsync([.. _history, message], options, cancellationToken))
        {
            updates.Add(update);
            // On the last update only.
            if (update.GetKvPruneStatistics() is { } statistics)
                _statistics.Add(statistics);
            if (update.Text.Length > 0)
                yield return update.Text;
        }

        _history.Add(message);
        _history.AddMessages(updates);
    }
}
