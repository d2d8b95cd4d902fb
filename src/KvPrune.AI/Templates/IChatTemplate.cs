using System.Text.Json;

namespace KvPrune.AI.Templates;

/// <summary>Turns messages into the prompt text that a model was trained on. Safe for concurrent use.</summary>
internal interface IChatTemplate
{
    /// <summary>What the template makes of tools.</summary>
    ToolConventions Tools { get; }

    /// <inheritdoc cref="ChatTemplate.Render"/>
    RenderedPrompt Render(
        IReadOnlyList<TemplateMessage> messages, bool addGenerationPrompt, IReadOnlyList<JsonElement>? tools = null);
}
