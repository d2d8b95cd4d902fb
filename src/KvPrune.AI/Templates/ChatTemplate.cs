using KvPrune.AI.Templates.Jinja;

namespace KvPrune.AI.Templates;

/// <summary>The chat template of a model: turns messages into the prompt text the model was trained on.</summary>
/// <remarks>
/// Templates are Jinja 2 as chat templates use it (trim_blocks and lstrip_blocks on): if, for, set, comparisons,
/// whole-number arithmetic, slices, the filters trim and tojson, strip, tests such as <c>is defined</c>, <c>loop</c>
/// and raise_exception. The variables are messages, add_generation_prompt, the special tokens of tokenizer_config.json
/// such as bos_token, and tools and documents, which are none. Safe for concurrent use.
/// </remarks>
public sealed class ChatTemplate : IChatTemplate
{
    private readonly TemplateSource _source;
    private readonly IReadOnlyList<Statement> _statements;
    private readonly IReadOnlyDictionary<string, string> _specialTokens;

    private ChatTemplate(TemplateSource source, IReadOnlyDictionary<string, string> specialTokens)
    {
        _source = source;
        _statements = StatementParser.Parse(source);
        _specialTokens = specialTokens;
    }

    /// <summary>
    /// Reads chat_template.jinja of the folder, else the entry "chat_template" of its tokenizer_config.json: a
    /// template, or a list of named ones with one called "default".
    /// </summary>
    /// <exception cref="ChatTemplateException">
    /// No template, or one that uses something unsupported; names file and line.
    /// </exception>
    public static ChatTemplate Load(string modelFolder)
    {
        ArgumentException.ThrowIfNullOrEmpty(modelFolder);
        (TemplateSource source, IReadOnlyDictionary<string, string> specialTokens) = TemplateFolder.Read(modelFolder);
        return new ChatTemplate(source, specialTokens);
    }

    /// <summary>A template that is at hand as text.</summary>
    internal static ChatTemplate Parse(string template, string file, IReadOnlyDictionary<string, string> specialTokens) =>
        new(new TemplateSource(file, template), specialTokens);

    /// <summary>Renders the prompt.</summary>
    /// <param name="messages">The conversation, oldest first.</param>
    /// <param name="addGenerationPrompt">
    /// Whether the template should end with what starts the assistant's answer.
    /// </param>
    /// <exception cref="ChatTemplateException">The template failed on these messages; names file and line.</exception>
    /// <exception cref="ChatTemplateRaisedException">The template refused these messages.</exception>
    public RenderedPrompt Render(IReadOnlyList<TemplateMessage> messages, bool addGenerationPrompt)
    {
        ArgumentNullException.ThrowIfNull(messages);
        long contentLength = 0;
        var list = new List<object?>(messages.Count);
        foreach (TemplateMessage message in messages)
        {
            if (message?.Role is null || message.Content is null)
                throw new ArgumentException($"Message {list.Count} is null, or its role or content is.", nameof(messages));
            contentLength += message.Content.Length;
            list.Add(new Dictionary<string, object?>
            {
                ["role"] = TaintedText.Trusted(message.Role),
                ["content"] = TaintedText.Untrusted(message.Content),
            });
        }

        var variables = new Dictionary<string, object?>
        {
            ["messages"] = list,
            ["add_generation_prompt"] = addGenerationPrompt,
            ["tools"] = null,
            ["documents"] = null,
        };
        foreach ((string name, string token) in _specialTokens)
            variables[name] = TaintedText.Trusted(token);

        TaintedText text = StatementEvaluator.Run(_source, _statements, variables, new RenderBudget(contentLength));
        return new RenderedPrompt(text.Value, [.. text.UntrustedSpans.Select(span => span.Start..span.End)]);
    }
}
