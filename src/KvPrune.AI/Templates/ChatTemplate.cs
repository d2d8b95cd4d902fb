namespace KvPrune.AI.Templates;

/// <summary>The chat template of a model: turns messages into the prompt text the model was trained on.</summary>
public sealed class ChatTemplate
{
    /// <summary>
    /// Reads chat_template.jinja of the folder, else the entry "chat_template" of its tokenizer_config.json.
    /// </summary>
    /// <exception cref="ChatTemplateException">No template, or one that uses something unsupported; names file and line.</exception>
    public static ChatTemplate Load(string modelFolder) => throw new NotImplementedException();

    /// <summary>Renders the prompt.</summary>
    /// <param name="messages">The conversation, oldest first.</param>
    /// <param name="addGenerationPrompt">Whether the template should end with what starts the assistant's answer.</param>
    /// <exception cref="ChatTemplateException">The template failed on these messages.</exception>
    /// <exception cref="ChatTemplateRaisedException">The template refused these messages.</exception>
    public RenderedPrompt Render(IReadOnlyList<TemplateMessage> messages, bool addGenerationPrompt) =>
        throw new NotImplementedException();
}
