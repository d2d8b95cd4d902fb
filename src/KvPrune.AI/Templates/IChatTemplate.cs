namespace KvPrune.AI.Templates;

/// <summary>Turns messages into the prompt text that a model was trained on. Safe for concurrent use.</summary>
internal interface IChatTemplate
{
    /// <inheritdoc cref="ChatTemplate.Render"/>
    RenderedPrompt Render(IReadOnlyList<TemplateMessage> messages, bool addGenerationPrompt);
}
