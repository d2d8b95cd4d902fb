using KvPrune.AI.Templates;
using KvPrune.AI.Tokenization;
using Microsoft.Extensions.AI;

namespace KvPrune.Eval.Running;

/// <summary>Turns documents and questions into token ids, in the form that the model's chat template gives them.</summary>
internal sealed class PromptEncoder(IChatTemplate template, IPromptTokenizer tokenizer)
{
    /// <summary>A prompt of a document and a question.</summary>
    /// <param name="Tokens">Token ids.</param>
    /// <param name="DocumentTokens">How many of them come before the question.</param>
    internal readonly record struct Prompt(int[] Tokens, int DocumentTokens);

    /// <summary>One message: the document, a line break and the question.</summary>
    /// <exception cref="InvalidDataException">The template changes the text of messages.</exception>
    public Prompt Encode(string document, string question)
    {
        RenderedPrompt whole = Render([User(document, question)]);
        int cut = whole.Text.LastIndexOf(question, StringComparison.Ordinal);
        if (cut < 0) throw new InvalidDataException("The chat template changes the text of messages.");
        int[] tokens = tokenizer.Encode(whole).Tokens;
        // Where the last token before the question reaches into it, that one belongs to the question.
        int[] before = tokenizer.Encode(Part(whole, 0, cut)).Tokens;
        return new Prompt(tokens, tokens.AsSpan().CommonPrefixLength(before));
    }

    /// <summary>What follows the tokens of an answer when another question is asked: the answer's end, the question, and a new answer's beginning.</summary>
    /// <exception cref="InvalidDataException">The template does not keep earlier messages as they were.</exception>
    public int[] EncodeFollowUp(string document, string question, string answer, string next)
    {
        RenderedPrompt first = Render([User(document, question)]);
        RenderedPrompt whole = Render([User(document, question), new(ChatRole.Assistant.Value, answer), new(ChatRole.User.Value, next)]);
        int start = whole.Text.StartsWith(first.Text, StringComparison.Ordinal)
            ? whole.Text.IndexOf(answer, first.Text.Length, StringComparison.Ordinal) : -1;
        if (start < 0) throw new InvalidDataException("The chat template rewrites earlier messages, so that no question can follow an answer.");
        return tokenizer.Encode(Part(whole, start + answer.Length, whole.Text.Length)).Tokens;
    }

    /// <summary>The token that the template begins every prompt with; null if it begins with other text.</summary>
    public int? FirstToken()
    {
        int first = tokenizer.Encode(Render([new(ChatRole.User.Value, "text")])).Tokens[0];
        return tokenizer.SpecialTokens.Values.Contains(first) ? first : null;
    }

    /// <summary>Token ids of plain text.</summary>
    public int[] EncodeText(string text) => tokenizer.Encode(new RenderedPrompt(text, [Range.All])).Tokens;

    private static TemplateMessage User(string document, string question) => new(ChatRole.User.Value, $"{document}\n{question}");

    private RenderedPrompt Render(IReadOnlyList<TemplateMessage> messages) => template.Render(messages, addGenerationPrompt: true);

    private static RenderedPrompt Part(RenderedPrompt prompt, int start, int end)
    {
        List<Range> spans = [];
        foreach (Range span in prompt.UntrustedSpans)
        {
            (int offset, int length) = span.GetOffsetAndLength(prompt.Text.Length);
            int from = Math.Max(offset, start), to = Math.Min(offset + length, end);
            if (from < to) spans.Add((from - start)..(to - start));
        }
        return new RenderedPrompt(prompt.Text[start..end], spans);
    }
}
