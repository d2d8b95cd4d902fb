namespace KvPrune.AI.Templates.Jinja;

/// <summary>A node that writes or assigns.</summary>
internal abstract record Statement(int Line);

internal sealed record WriteText(int Line, TaintedText Text) : Statement(Line);

/// <summary><c>{{ value }}</c>.</summary>
internal sealed record WriteValue(int Line, Expression Value) : Statement(Line);

/// <summary>if and every elif with its body; else, where there is one, has a condition that is always true.</summary>
internal sealed record If(int Line, IReadOnlyList<(Expression Condition, IReadOnlyList<Statement> Body)> Branches)
    : Statement(Line);

/// <summary><c>for variable in items if filter</c>; the last body runs when there was nothing to loop over.</summary>
internal sealed record For(
    int Line,
    string Variable,
    Expression Items,
    Expression? Filter,
    IReadOnlyList<Statement> Body,
    IReadOnlyList<Statement> Otherwise) : Statement(Line);

internal sealed record Set(int Line, string Variable, Expression Value) : Statement(Line);

/// <summary><c>{% set variable %}…{% endset %}</c>.</summary>
internal sealed record SetBlock(int Line, string Variable, IReadOnlyList<Statement> Body) : Statement(Line);
