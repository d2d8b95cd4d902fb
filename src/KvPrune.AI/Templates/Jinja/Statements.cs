namespace KvPrune.AI.Templates.Jinja;

/// <summary>A node that writes or assigns.</summary>
internal abstract record Statement(int Line);

internal sealed record WriteText(int Line, TaintedText Text) : Statement(Line);

/// <summary><c>{{ value }}</c>.</summary>
internal sealed record WriteValue(int Line, Expression Value) : Statement(Line);

/// <summary>if and every elif with its body; else, where there is one, has a condition that is always true.</summary>
internal sealed record If(int Line, IReadOnlyList<(Expression Condition, IReadOnlyList<Statement> Body)> Branches)
    : Statement(Line);

/// <summary><c>for target in items if filter</c>; the last body runs when there was nothing to loop over.</summary>
internal sealed record For(
    int Line,
    Target Target,
    Expression Items,
    Expression? Filter,
    IReadOnlyList<Statement> Body,
    IReadOnlyList<Statement> Otherwise) : Statement(Line);

/// <summary>break or continue.</summary>
internal sealed record LoopControl(int Line, bool IsBreak) : Statement(Line);

internal sealed record Set(int Line, Target Target, Expression Value) : Statement(Line);

/// <summary><c>{% set target %}…{% endset %}</c>.</summary>
internal sealed record SetBlock(int Line, Target Target, IReadOnlyList<Statement> Body) : Statement(Line);

/// <summary><c>{% macro name(parameters) %}…{% endmacro %}</c>.</summary>
internal sealed record Macro(
    int Line, string Name, IReadOnlyList<(string Name, Expression? Default)> Parameters, IReadOnlyList<Statement> Body)
    : Statement(Line);

/// <summary><c>{% generation %}…{% endgeneration %}</c>, which marks answers for training and writes what is in it.</summary>
internal sealed record Generation(int Line, IReadOnlyList<Statement> Body) : Statement(Line);

/// <summary>What is assigned: a variable, several that take an item each, or the attribute of a namespace.</summary>
/// <param name="Names">The variables; with <paramref name="Attribute"/>, the one that holds the namespace.</param>
/// <param name="IsUnpacking">Whether a sequence is taken apart, which may be one of a single item.</param>
/// <param name="Attribute">The attribute; null for variables.</param>
internal sealed record Target(IReadOnlyList<string> Names, bool IsUnpacking, string? Attribute);
