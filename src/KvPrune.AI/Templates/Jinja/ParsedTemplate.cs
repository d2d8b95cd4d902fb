namespace KvPrune.AI.Templates.Jinja;

/// <summary>A template that can be run.</summary>
/// <param name="Source">Where it came from.</param>
/// <param name="Body">Its statements.</param>
/// <param name="Names">Every name that it reads as a variable.</param>
/// <param name="Attributes">Every attribute, and every key written as a constant, that it reads.</param>
internal sealed record ParsedTemplate(
    TemplateSource Source, IReadOnlyList<Statement> Body, IReadOnlySet<string> Names, IReadOnlySet<string> Attributes);
