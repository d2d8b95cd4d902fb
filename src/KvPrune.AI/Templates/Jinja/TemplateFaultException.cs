namespace KvPrune.AI.Templates.Jinja;

/// <summary>
/// A run-time error that does not know its line yet: the innermost node it passes through adds it, and the evaluator
/// turns it into a <see cref="ChatTemplateException"/>.
/// </summary>
internal sealed class TemplateFaultException(string problem) : Exception(problem)
{
    public int Line { get; set; }
}
