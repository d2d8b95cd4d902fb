using KvPrune.AI.Templates;
using KvPrune.AI.Tokenization;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Chat;

/// <summary>Turns a conversation into token ids and the ends of its prompt segments.</summary>
internal sealed class PromptBuilder(ChatTemplate template, HfTokenizer tokenizer)
{
    /// <summary>A prompt ready for the engine.</summary>
    public sealed record Prompt(int[] Tokens, int[] SegmentEnds);

    /// <summary>
    /// Renders and encodes. A segment ends where each earlier answer began, as that is where the prompt it answered
    /// ended: a conversation that goes on is compressed at the places where it was compressed before, and so can
    /// continue from what is cached.
    /// </summary>
    public Prompt Build(IReadOnlyList<TemplateMessage> messages)
    {
        RenderedPrompt whole = template.Render(messages, addGenerationPrompt: true);
        int[] tokens = tokenizer.Encode(whole);
        if (tokens.Length == 0) throw new ArgumentException("The chat template made an empty prompt of the messages.", nameof(messages));
        List<int> ends = [];
        for (int i = 1; i < messages.Count; i++)
        {
            if (messages[i].Role == ChatRole.Assistant.Value && EarlierEnd(messages, i, whole.Text, tokens) is { } end
                && (ends.Count == 0 || end > ends[^1]))
            {
                ends.Add(end);
            }
        }
        ends.Add(tokens.Length);
        return new Prompt(tokens, [.. ends]);
    }

    /// <summary>Length of the prompt that message <paramref name="count"/> answered; null if the template rewrites it later.</summary>
    private int? EarlierEnd(IReadOnlyList<TemplateMessage> messages, int count, string text, int[] tokens)
    {
        RenderedPrompt earlier;
        try
        {
            earlier = template.Render([.. messages.Take(count)], addGenerationPrompt: true);
        }
        catch (ChatTemplateRaisedException)
        {
            return null; // the template takes the conversation as a whole but not its beginning
        }
        if (!text.StartsWith(earlier.Text, StringComparison.Ordinal)) return null;
        int[] beginning = tokenizer.Encode(earlier);
        return beginning.Length > 0 && beginning.Length < tokens.Length && tokens.AsSpan().StartsWith(beginning) ? beginning.Length : null;
    }
}
