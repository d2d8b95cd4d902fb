namespace KvPrune.AI.Templates.Jinja;

/// <summary>A node that has a value.</summary>
internal abstract record Expression(int Line);

/// <param name="Line">Line of the template.</param>
/// <param name="Value">null, bool, long or <see cref="TaintedText"/>.</param>
internal sealed record Constant(int Line, object? Value) : Expression(Line);

internal sealed record Name(int Line, string Identifier) : Expression(Line);

internal sealed record ListLiteral(int Line, IReadOnlyList<Expression> Items) : Expression(Line);

internal sealed record MapLiteral(int Line, IReadOnlyList<(Expression Key, Expression Value)> Items) : Expression(Line);

/// <summary><c>value.name</c>.</summary>
internal sealed record AttributeAccess(int Line, Expression Value, string Attribute) : Expression(Line);

/// <summary><c>value[index]</c>.</summary>
internal sealed record IndexAccess(int Line, Expression Value, Expression Index) : Expression(Line);

/// <summary><c>value[start:stop:step]</c>.</summary>
internal sealed record SliceAccess(int Line, Expression Value, Expression? Start, Expression? Stop, Expression? Step)
    : Expression(Line);

/// <summary><c>-value</c> and <c>+value</c>.</summary>
internal sealed record Sign(int Line, bool IsNegative, Expression Value) : Expression(Line);

internal sealed record Not(int Line, Expression Value) : Expression(Line);

/// <summary><c>and</c> and <c>or</c>, which give one of their operands.</summary>
internal sealed record Logical(int Line, bool IsAnd, Expression Left, Expression Right) : Expression(Line);

/// <summary>One of <c>+ - * // % ~</c>.</summary>
internal sealed record Arithmetic(int Line, string Operator, Expression Left, Expression Right) : Expression(Line);

/// <summary>A chain such as <c>a &lt; b &lt;= c</c>: every neighbouring pair has to hold.</summary>
internal sealed record Comparison(int Line, Expression First, IReadOnlyList<(string Operator, Expression Value)> Rest)
    : Expression(Line);

/// <summary><c>value if condition else otherwise</c>.</summary>
internal sealed record Conditional(int Line, Expression Condition, Expression Value, Expression? Otherwise) : Expression(Line);

/// <summary><c>value is name</c>.</summary>
internal sealed record Test(int Line, Expression Value, string Name) : Expression(Line);

/// <summary><c>value.strip(characters)</c> and the filter trim.</summary>
internal sealed record Strip(int Line, Expression Value, Expression? Characters, bool Left, bool Right, bool IsFilter)
    : Expression(Line);

/// <summary>The filter tojson.</summary>
internal sealed record ToJson(int Line, Expression Value, Expression? Indent) : Expression(Line);

/// <summary><c>raise_exception(message)</c>.</summary>
internal sealed record RaiseException(int Line, Expression Message) : Expression(Line);
