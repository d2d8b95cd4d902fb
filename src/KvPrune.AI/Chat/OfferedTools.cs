using System.Text.Json;
using System.Text.Json.Nodes;
using KvPrune.AI.Templates;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Chat;

/// <summary>The functions that a request lets the model call.</summary>
/// <param name="Schemas">What the template is given of each.</param>
/// <param name="Names">Their names.</param>
/// <param name="Format">How the model writes calls.</param>
internal sealed record OfferedTools(IReadOnlyList<JsonElement> Schemas, IReadOnlySet<string> Names, ToolCallFormat Format)
{
    /// <summary>The tools of a request; null if there are none, or none may be called.</summary>
    /// <exception cref="ArgumentException">A tool is null, or its schema cannot be written; names it.</exception>
    /// <exception cref="NotSupportedException">The template or the client cannot do what is asked for.</exception>
    public static OfferedTools? Read(ChatOptions options, ToolConventions conventions)
    {
        if (options.Tools is not { Count: > 0 } tools || options.ToolMode is NoneChatToolMode) return null;
        int missing = tools.IndexOf(null!);
        if (missing >= 0) throw new ArgumentException($"Tool {missing} is null.", nameof(options));
        string asked = $"the request brings {tools.Count} (the first is '{tools[0].Name}'). Set ToolMode to None to ask without them.";
        if (conventions.Placement == ToolPlacement.None)
            throw new NotSupportedException($"The chat template {conventions.Template} does not use tools, and {asked}");
        if (conventions.CallFormat is not { } format)
            throw new NotSupportedException($"The chat template {conventions.Template} uses tools, but not in a format whose calls can be read, and {asked}");
        if (options.ToolMode is RequiredChatToolMode required)
            throw new NotSupportedException($"ToolMode requires a call of {required.RequiredFunctionName ?? "some tool"}, which cannot be enforced. Leave it unset or Auto, and ask for the call in the prompt.");
        if (options.AllowMultipleToolCalls is false)
            throw new NotSupportedException("AllowMultipleToolCalls is false, which cannot be enforced. Leave it unset.");
        return new([.. tools.Select(Schema)], tools.Select(tool => tool.Name).ToHashSet(), format);
    }

    private static JsonElement Schema(AITool tool)
    {
        if (tool is not AIFunctionDeclaration function)
            throw new NotSupportedException($"The tool '{tool.Name}' is {tool.GetType().Name}; only functions can be offered to this model.");
        try
        {
            return JsonSerializer.SerializeToElement(new JsonObject
            {
                ["type"] = "function",
                ["function"] = new JsonObject
                {
                    ["name"] = function.Name,
                    ["description"] = function.Description,
                    ["parameters"] = JsonNode.Parse(function.JsonSchema.GetRawText()),
                },
            });
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            // Nested too deeply, or no JSON at all as a default JsonElement.
            throw new ArgumentException($"The schema of the tool '{function.Name}' cannot be written: {error.Message}", nameof(tool), error);
        }
    }
}
