using System.Text.Json;
using KvPrune.AI.Templates.Jinja;

namespace KvPrune.AI.Templates;

/// <summary>The chat template of a model: turns messages into the prompt text the model was trained on.</summary>
/// <remarks>
/// Templates are Jinja 2 in the environment that chat templates are written for: trim_blocks and lstrip_blocks on, break
/// and continue, tojson without HTML escapes, raise_exception, strftime_now. There are if, for, set, macro and
/// generation, all operators but **, and the tests, filters and methods that chat templates use; call blocks, recursive
/// loops, inheritance and the formatting of text are missing. Statements, filters, tests and functions that are unknown
/// fail when the template loads; what depends on values, such as formatting text with % or a method that a value does not
/// have, fails when it renders. The variables are messages, tools, add_generation_prompt, the special tokens of
/// tokenizer_config.json such as bos_token, and documents, which is none. Safe for concurrent use.
/// </remarks>
public sealed class ChatTemplate : IChatTemplate
{
    private readonly ParsedTemplate _template;
    private readonly IReadOnlyDictionary<string, string> _specialTokens;
    private readonly TimeProvider _clock;

    private ChatTemplate(TemplateSource source, IReadOnlyDictionary<string, string> specialTokens, TimeProvider clock)
    {
        _template = StatementParser.Parse(source);
        _specialTokens = specialTokens;
        _clock = clock;
        Tools = ToolConventions.Of(_template);
    }

    /// <inheritdoc cref="IChatTemplate.Tools"/>
    internal ToolConventions Tools { get; }

    ToolConventions IChatTemplate.Tools => Tools;

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
        return new ChatTemplate(source, specialTokens, TimeProvider.System);
    }

    /// <summary>A template that is at hand as text.</summary>
    internal static ChatTemplate Parse(
        string template, string file, IReadOnlyDictionary<string, string> specialTokens, TimeProvider? clock = null) =>
        new(new TemplateSource(file, template), specialTokens, clock ?? TimeProvider.System);

    /// <summary>Renders the prompt.</summary>
    /// <param name="messages">The conversation, oldest first.</param>
    /// <param name="addGenerationPrompt">
    /// Whether the template should end with what starts the assistant's answer.
    /// </param>
    /// <param name="tools">
    /// The functions that the model may call, each as {"type": "function", "function": {"name", "description",
    /// "parameters"}}. Text in them is reported as untrusted.
    /// </param>
    /// <exception cref="ArgumentException">
    /// A message is null, or its role or content is; or a tool or a call holds text that is not valid Unicode.
    /// </exception>
    /// <exception cref="ChatTemplateException">
    /// The template failed on these messages, or tools or calls cannot be written for it; names file and line.
    /// </exception>
    /// <exception cref="ChatTemplateRaisedException">The template refused these messages.</exception>
    public RenderedPrompt Render(
        IReadOnlyList<TemplateMessage> messages, bool addGenerationPrompt, IReadOnlyList<JsonElement>? tools = null)
    {
        ArgumentNullException.ThrowIfNull(messages);
        RenderBudget budget;
        Dictionary<string, object?> variables;
        try
        {
            variables = TemplateVariables.Create(Tools, messages, tools, out budget);
        }
        catch (TemplateFaultException fault)
        {
            // Tools or calls that the template is given as text have none: they are nested too deeply or too long.
            throw _template.Source.Fail(fault.Line, fault.Message);
        }

        variables["add_generation_prompt"] = addGenerationPrompt;
        foreach ((string name, string token) in _specialTokens)
            variables[name] = TaintedText.Trusted(token);

        TaintedText text = StatementEvaluator.Run(_template, variables, budget, _clock);
        return new RenderedPrompt(text.Value, [.. text.UntrustedSpans.Select(span => span.Start..span.End)]);
    }
}
