namespace KvPrune.AI.Templates;

/// <summary>
/// The template called <c>raise_exception</c>: it refuses these messages, for example because the model knows no system
/// role. <see cref="ChatTemplateException.Problem"/> is the template's own wording.
/// </summary>
public sealed class ChatTemplateRaisedException : ChatTemplateException
{
    /// <summary>Creates the exception with the template's message.</summary>
    public ChatTemplateRaisedException(string file, int line, string message)
        : base(file, line, message)
    {
    }
}
