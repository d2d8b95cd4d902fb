namespace KvPrune.AI.Templates;

/// <summary>One message as a chat template sees it: <c>message.role</c> and <c>message.content</c>.</summary>
/// <param name="Role">
/// "system", "user", "assistant" or another role the template knows. It belongs to the application: templates build
/// control tokens from it, so it must never be text that a user typed.
/// </param>
/// <param name="Content">The text. Everything rendered from it is reported as untrusted.</param>
public sealed record TemplateMessage(string Role, string Content);
