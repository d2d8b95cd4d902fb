using System.Text.Json;

namespace KvPrune.AI.Templates;

/// <summary>
/// A call as a chat template sees it: <c>tool_call.id</c>, <c>tool_call.function.name</c> and
/// <c>tool_call.function.arguments</c>. All of it is reported as untrusted.
/// </summary>
/// <param name="Id">What the result refers to.</param>
/// <param name="Name">The function.</param>
/// <param name="Arguments">A JSON object.</param>
public sealed record TemplateToolCall(string Id, string Name, JsonElement Arguments);
