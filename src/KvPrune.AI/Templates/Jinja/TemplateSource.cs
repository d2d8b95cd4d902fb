namespace KvPrune.AI.Templates.Jinja;

/// <summary>The text of a template and where it came from.</summary>
internal sealed record TemplateSource(string File, string Text)
{
    public ChatTemplateException Fail(int line, string problem) => new(File, line, problem);
}
