namespace KvPrune.AI.Templates;

/// <summary>
/// One message as a chat template sees it: <c>message.role</c> and <c>message.content</c>, and what belongs to tools.
/// </summary>
/// <param name="Role">
/// "system", "user", "assistant", "tool" or another role the template knows. It belongs to the application: templates
/// build control tokens from it, so it must never be text that a user typed.
/// </param>
/// <param name="Content">The text. Everything rendered from it is reported as untrusted.</param>
public sealed record TemplateMessage(string Role, string Content)
{
    /// <summary>
    /// The calls that this answer made: <c>message.tool_calls</c>, which is undefined where there are none.
    /// </summary>
    public IReadOnlyList<TemplateToolCall> ToolCalls { get; init; } = [];

    /// <summary>The call whose result this is, <c>message.tool_call_id</c>; undefined in the template where null.</summary>
    public string? ToolCallId { get; init; }

    /// <summary>The function whose result this is, <c>message.name</c>; undefined in the template where null.</summary>
    public string? ToolName { get; init; }

    /// <summary>Whether the prompt up to here is compressed by itself. Nothing that a template sees.</summary>
    internal bool IsSharedDocument { get; init; }
}
