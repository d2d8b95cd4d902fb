using System.Text;
using KvPrune.AI.Templates;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Chat;

/// <summary>Takes the text out of chat messages and refuses what a text model cannot read.</summary>
internal static class ChatMessageReader
{
    /// <exception cref="ArgumentException">There is no message, or one of them or of their contents is null.</exception>
    /// <exception cref="NotSupportedException">A role or a content cannot be used; the message names it.</exception>
    public static List<TemplateMessage> Read(IEnumerable<ChatMessage> messages, string? instructions)
    {
        List<TemplateMessage> result = [];
        foreach (ChatMessage message in messages)
        {
            if (message is null) throw new ArgumentException($"Message {result.Count} is null.", nameof(messages));
            result.Add(new TemplateMessage(Role(message.Role), Text(message)));
        }
        if (result.Count == 0) throw new ArgumentException("There are no messages.", nameof(messages));
        if (!string.IsNullOrEmpty(instructions)) result.Insert(0, new TemplateMessage(ChatRole.System.Value, instructions));
        return result;
    }

    // ChatRole ignores case; templates do not.
    private static string Role(ChatRole role) =>
        role == ChatRole.System ? ChatRole.System.Value
        : role == ChatRole.User ? ChatRole.User.Value
        : role == ChatRole.Assistant ? ChatRole.Assistant.Value
        : throw new NotSupportedException($"Messages of the role '{role}' are not supported; system, user and assistant are.");

    private static string Text(ChatMessage message)
    {
        var text = new StringBuilder();
        foreach (AIContent content in message.Contents)
        {
            switch (content)
            {
                case TextContent part:
                    text.Append(part.Text);
                    break;
                // What an earlier answer carried besides its text: models are not shown their own reasoning or token counts again.
                case TextReasoningContent or UsageContent when message.Role == ChatRole.Assistant:
                    break;
                case null:
                    throw new ArgumentException($"A message of the role '{message.Role}' holds a null content.", nameof(message));
                default:
                    throw new NotSupportedException(
                        $"A message of the role '{message.Role}' holds {content.GetType().Name}; this model reads text only.");
            }
        }
        return text.ToString();
    }
}
