using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using KvPrune.AI.Runtimes.GenAI.Interop;
using KvPrune.AI.Templates;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>
/// A model folder's chat template as GenAI renders it. Its renderer does not tell which characters come from messages,
/// so added tokens in contents are marked for it (<see cref="ContentMarks"/>): only these places are untrusted spans.
/// Conversations with tools, which bring text in many places, are rendered by our reader if it can read the template.
/// </summary>
internal sealed partial class GenAIChatTemplate : IChatTemplate
{
    private readonly Lock _rendering = new(); // nothing says that the native renderer may run twice at once
    private readonly TokenizerHandle _tokenizer;
    private readonly ContentMarks _marks;
    private readonly string _source;
    private readonly ChatTemplate? _ours;

    /// <param name="tokenizer">The native tokenizer, which has the template; it stays the caller's.</param>
    /// <param name="tokens">What it knows.</param>
    /// <param name="folder">The model folder, for messages.</param>
    public GenAIChatTemplate(TokenizerHandle tokenizer, TokenInventory tokens, string folder)
    {
        _tokenizer = tokenizer;
        _marks = new ContentMarks(new AddedTokenFinder(tokens.AddedTokens));
        _source = $"{folder} (chat template, rendered by GenAI)";
        try
        {
            _ours = ChatTemplate.Load(folder);
        }
        catch (ChatTemplateException)
        {
            // Then there are no tools.
        }
    }

    /// <inheritdoc/>
    public ToolConventions Tools => _ours?.Tools ?? new ToolConventions(_source, ToolPlacement.None, CallFormat: null, ReadsToolCalls: false);

    /// <inheritdoc/>
    public RenderedPrompt Render(
        IReadOnlyList<TemplateMessage> messages, bool addGenerationPrompt, IReadOnlyList<JsonElement>? tools = null)
    {
        ArgumentNullException.ThrowIfNull(messages);
        if (tools is { Count: > 0 } || messages.Any(message => message.ToolCalls.Count > 0 || message.ToolCallId is not null))
        {
            return _ours?.Render(messages, addGenerationPrompt, tools)
                ?? throw new ChatTemplateException(_source, 0, "tools were used, which this template cannot be given.");
        }
        TemplateMessage[] clean = [.. messages.Select(message => new TemplateMessage(GenAIText.Clean(message.Role), GenAIText.Clean(message.Content)))];
        string text = RenderText(clean, addGenerationPrompt);
        char mark = ContentMarks.Choose([text, .. clean.Select(message => message.Role + message.Content)]);
        TemplateMessage[] marked = [.. clean.Select(message => message with { Content = _marks.Insert(message.Content, mark) })];
        if (marked.SequenceEqual(clean)) return new RenderedPrompt(text, []);
        RenderedPrompt prompt = ContentMarks.Remove(RenderText(marked, addGenerationPrompt), mark);
        return prompt.Text == text ? prompt : throw new ChatTemplateException(
            _source, 0, "a message holds the text of a special token, and the template makes something else of it than it makes of other text; it cannot be kept apart.");
    }

    /// <summary>Tries the template: GenAI says only when it renders that it could not read it.</summary>
    /// <exception cref="ChatTemplateException">There is none, or it uses something unsupported.</exception>
    public void RequireUsable()
    {
        try
        {
            RenderText([new TemplateMessage("user", "")], addGenerationPrompt: true);
        }
        catch (ChatTemplateException error) when (error.Line > 0)
        {
            // It was read; what it refuses or misses is this message's.
        }
    }

    private string RenderText(TemplateMessage[] messages, bool addGenerationPrompt)
    {
        string json = JsonSerializer.Serialize(messages.Select(message => new { role = message.Role, content = message.Content }));
        try
        {
            lock (_rendering)
            {
                NativeMethods.OgaTokenizerApplyChatTemplate(_tokenizer, null, json, null, addGenerationPrompt, out TextHandle text).ThrowOnFailure();
                using (text) return text.ToString();
            }
        }
        catch (GenAIException error)
        {
            throw Explain(error);
        }
    }

    /// <summary>GenAI's message goes on with the place: row, column and a copy of the row above a '^'.</summary>
    private ChatTemplateException Explain(GenAIException error)
    {
        Match place = Place().Match(error.Message);
        if (!place.Success) return new ChatTemplateException(_source, 0, error.Message, error);
        string problem = error.Message[..place.Index];
        int row = int.Parse(place.Groups["row"].ValueSpan, CultureInfo.InvariantCulture);
        int column = int.Parse(place.Groups["column"].ValueSpan, CultureInfo.InvariantCulture); // in bytes
        string[] copy = error.Message[(place.Index + place.Length)..].Split('\n');
        int pointer = Array.FindIndex(copy, line => line.AsSpan().Trim(' ') is "^");
        byte[] line = pointer < 1 ? [] : Encoding.UTF8.GetBytes(copy[pointer - 1]);
        return line.AsSpan(0, Math.Clamp(column - 1, 0, line.Length)).EndsWith("raise_exception"u8)
            ? new ChatTemplateRaisedException(_source, row, problem)
            : new ChatTemplateException(_source, row, problem, error);
    }

    [GeneratedRegex(@" at row (?<row>\d{1,9}), column (?<column>\d{1,9}):\n")]
    private static partial Regex Place();
}
