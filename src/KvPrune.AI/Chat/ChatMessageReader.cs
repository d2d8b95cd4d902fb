using System.Text;
using System.Text.Json;
using KvPrune.AI.Templates;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Chat;

/// <summary>Takes text, calls and results out of chat messages and refuses what a text model cannot read.</summary>
internal static class ChatMessageReader
{
    private static readonly JsonSerializerOptions Json = new(AIJsonUtilities.DefaultOptions) { WriteIndented = false };

    /// <exception cref="ArgumentException">
    /// There is no message, or one of them or of their contents is null; or a call's arguments or result have no JSON form.
    /// </exception>
    /// <exception cref="NotSupportedException">A role or a content cannot be used; the message names it.</exception>
    public static List<TemplateMessage> Read(IEnumerable<ChatMessage> messages, string? instructions, ToolConventions conventions)
    {
        List<TemplateMessage> result = [];
        Dictionary<string, string> functions = [];
        int count = 0;
        foreach (ChatMessage message in messages)
        {
            if (message is null) throw new ArgumentException($"Message {count} is null.", nameof(messages));
            count++;
            if (message.Role == ChatRole.Tool) result.AddRange(Results(message, functions, conventions));
            else result.Add(Message(message, functions, conventions));
        }
        if (result.Count == 0) throw new ArgumentException("There are no messages.", nameof(messages));
        if (!string.IsNullOrEmpty(instructions)) result.Insert(0, new TemplateMessage(ChatRole.System.Value, instructions));
        return result;
    }

    private static TemplateMessage Message(ChatMessage message, Dictionary<string, string> functions, ToolConventions conventions)
    {
        var text = new StringBuilder();
        List<TemplateToolCall> calls = [];
        foreach (AIContent content in message.Contents)
        {
            switch (content)
            {
                case TextContent part:
                    text.Append(part.Text);
                    break;
                case FunctionCallContent call when message.Role == ChatRole.Assistant:
                    Require(conventions, call);
                    functions[call.CallId] = call.Name;
                    calls.Add(new TemplateToolCall(call.CallId, call.Name, Arguments(call)));
                    break;
                // What an earlier answer carried besides its text: models are not shown their own reasoning or token counts again.
                case TextReasoningContent or UsageContent when message.Role == ChatRole.Assistant:
                    break;
                default:
                    throw Refuse(message, content);
            }
        }
        return new TemplateMessage(Role(message.Role), text.ToString()) { ToolCalls = calls, IsSharedDocument = message.IsSharedDocument() };
    }

    // Templates take one result a message.
    private static IEnumerable<TemplateMessage> Results(
        ChatMessage message, Dictionary<string, string> functions, ToolConventions conventions)
    {
        foreach (AIContent content in message.Contents)
        {
            if (content is not FunctionResultContent result) throw Refuse(message, content);
            Require(conventions, result);
            yield return new TemplateMessage(ChatRole.Tool.Value, Text(result.Result, result.CallId))
            {
                ToolCallId = result.CallId,
                ToolName = functions.GetValueOrDefault(result.CallId),
                IsSharedDocument = message.IsSharedDocument(),
            };
        }
    }

    // ChatRole ignores case; templates do not.
    private static string Role(ChatRole role) =>
        role == ChatRole.System ? ChatRole.System.Value
        : role == ChatRole.User ? ChatRole.User.Value
        : role == ChatRole.Assistant ? ChatRole.Assistant.Value
        : throw new NotSupportedException($"Messages of the role '{role}' are not supported; system, user, assistant and tool are.");

    private static void Require(ToolConventions conventions, AIContent content)
    {
        if (!conventions.TakesCalls)
            throw new NotSupportedException($"A message holds {content.GetType().Name}, but the chat template {conventions.Template} does not use tool calls.");
    }

    private static JsonElement Arguments(FunctionCallContent call) => Written(
        () => JsonSerializer.SerializeToElement(call.Arguments ?? new Dictionary<string, object?>(), Json),
        $"The arguments of the call '{call.CallId}' of '{call.Name}'");

    private static string Text(object? result, string callId) => result switch
    {
        string text => text,
        JsonElement { ValueKind: JsonValueKind.String } text => text.GetString()!,
        TextContent content => content.Text,
        IEnumerable<AIContent> contents => string.Concat(contents.Select(content => Text(content, callId))),
        AIContent content => throw new NotSupportedException($"A tool's result is {content.GetType().Name}; this model reads text only."),
        _ => Written(() => JsonSerializer.Serialize(result, Json), $"The result of the call '{callId}'"),
    };

    // Cycles, types without a JSON form, NaN, or whatever the caller's own properties throw.
    private static T Written<T>(Func<T> write, string what)
    {
        try
        {
            return write();
        }
        catch (Exception error) when (error is not OutOfMemoryException)
        {
            throw new ArgumentException($"{what} cannot be written as JSON: {error.Message}", nameof(write), error);
        }
    }

    private static Exception Refuse(ChatMessage message, AIContent? content) => content is null
        ? new ArgumentException($"A message of the role '{message.Role}' holds a null content.", nameof(message))
        : new NotSupportedException($"A message of the role '{message.Role}' holds {content.GetType().Name}, which this model does not read there.");
}
