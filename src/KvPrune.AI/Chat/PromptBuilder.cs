using System.Text.Json;
using KvPrune.AI.Engine;
using KvPrune.AI.Templates;
using KvPrune.AI.Tokenization;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Chat;

/// <summary>Turns a conversation into token ids and the ends of its prompt segments.</summary>
/// <param name="template">Renders it.</param>
/// <param name="tokenizer">Encodes it.</param>
/// <param name="contextLength">Tokens that prompt and answer may have together.</param>
internal sealed class PromptBuilder(IChatTemplate template, IPromptTokenizer tokenizer, int contextLength)
{
    /// <summary>
    /// Documents and earlier answers whose place is looked for, which takes a rendering each. The first ones rather than the last: a
    /// cached prompt is used again only where its ends are the first ends of the new one, and so the ends may depend on
    /// nothing that changes when a conversation goes on.
    /// </summary>
    internal const int MaxInnerEnds = 64;

    /// <summary>A prompt ready for the engine.</summary>
    public sealed record Prompt(int[] Tokens, int[] SegmentEnds);

    /// <summary>
    /// Renders and encodes. A segment ends where each earlier answer began, as that is where the prompt it answered
    /// ended: a conversation that goes on is compressed at the places where it was compressed before, and so can
    /// continue from what is cached. If documents are shared, one ends with each of them too (messages in a row are one).
    /// </summary>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    /// <exception cref="PromptTooLongException">The prompt leaves no room for an answer.</exception>
    public Prompt Build(IReadOnlyList<TemplateMessage> messages, IReadOnlyList<JsonElement>? tools, bool shareDocuments, CancellationToken cancellation)
    {
        RenderedPrompt whole = template.Render(messages, addGenerationPrompt: true, tools);
        cancellation.ThrowIfCancellationRequested();
        EncodedPrompt encoded = tokenizer.Encode(whole);
        int[] tokens = encoded.Tokens;
        if (tokens.Length == 0) throw new ArgumentException("The chat template made an empty prompt of the messages.", nameof(messages));
        if (tokens.Length >= contextLength) throw new PromptTooLongException(tokens.Length, contextLength);
        List<int> ends = [];
        foreach ((int count, bool isAnswered) in InnerEnds(messages, shareDocuments).Take(MaxInnerEnds))
        {
            cancellation.ThrowIfCancellationRequested();
            if (EarlierEnd(messages, count, isAnswered, tools, whole.Text, encoded) is { } end && end > ends.LastOrDefault() && end < tokens.Length)
                ends.Add(end);
        }
        ends.Add(tokens.Length);
        return new Prompt(tokens, [.. ends]);
    }

    /// <summary>How many messages come before each end, and whether an answer follows there.</summary>
    private static IEnumerable<(int Count, bool IsAnswered)> InnerEnds(IReadOnlyList<TemplateMessage> messages, bool shareDocuments)
    {
        for (int i = 0; i < messages.Count; i++)
        {
            if (i > 0 && messages[i].Role == ChatRole.Assistant.Value) yield return (i, true);
            bool endsDocument = messages[i].IsSharedDocument && (i + 1 == messages.Count || !messages[i + 1].IsSharedDocument);
            if (shareDocuments && endsDocument) yield return (i + 1, false);
        }
    }

    /// <summary>Length of the first messages' prompt; null if the template writes them differently in the whole one.</summary>
    private int? EarlierEnd(
        IReadOnlyList<TemplateMessage> messages, int count, bool isAnswered, IReadOnlyList<JsonElement>? tools, string text, EncodedPrompt encoded)
    {
        RenderedPrompt earlier;
        try
        {
            earlier = template.Render([.. messages.Take(count)], addGenerationPrompt: isAnswered, tools);
        }
        catch (ChatTemplateException)
        {
            return null; // the template takes the conversation as a whole but not its beginning
        }
        return text.StartsWith(earlier.Text, StringComparison.Ordinal) ? tokenizer.CountPrefix(encoded, earlier) : null;
    }
}
