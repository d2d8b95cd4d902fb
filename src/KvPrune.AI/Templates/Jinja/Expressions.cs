namespace KvPrune.AI.Templates.Jinja;

/// <summary>A node that has a value.</summary>
internal abstract record Expression(int Line);

/// <param name="Line">Line of the template.</param>
/// <param name="Value">null, bool, long, double or <see cref="TaintedText"/>.</param>
internal sealed record Constant(int Line, object? Value) : Expression(Line);

internal sealed record Name(int Line, string Identifier) : Expression(Line);

internal sealed record ListLiteral(int Line, IReadOnlyList<Expression> Items, bool IsTuple) : Expression(Line);

internal sealed record MapLiteral(int Line, IReadOnlyList<(Expression Key, Expression Value)> Items) : Expression(Line);

/// <summary><c>value.attribute</c>.</summary>
internal sealed record AttributeAccess(int Line, Expression Value, string Attribute) : Expression(Line);

/// <summary><c>value[index]</c>.</summary>
internal sealed record IndexAccess(int Line, Expression Value, Expression Index) : Expression(Line);

/// <summary><c>value[start:stop:step]</c>.</summary>
internal sealed record SliceAccess(int Line, Expression Value, Expression? Start, Expression? Stop, Expression? Step)
    : Expression(Line);

/// <summary>One comparison or a chain of them such as <c>a &lt; b &lt;= c</c>.</summary>
internal sealed record Comparison(int Line, Expression First, IReadOnlyList<(string Operator, Expression Value)> Rest)
    : Expression(Line);

/// <summary><c>and</c> or <c>or</c>; the value is that of the operand that decides.</summary>
internal sealed record Logical(int Line, bool IsAnd, Expression Left, Expression Right) : Expression(Line);

internal sealed record Not(int Line, Expression Value) : Expression(Line);

internal sealed record Arithmetic(int Line, string Operator, Expression Left, Expression Right) : Expression(Line);

internal sealed record Sign(int Line, bool IsNegative, Expression Value) : Expression(Line);

/// <summary><c>value if condition else otherwise</c>.</summary>
internal sealed record Conditional(int Line, Expression Condition, Expression Value, Expression? Otherwise)
    : Expression(Line);

/// <summary><c>value is name</c>, with the argument of tests that compare.</summary>
internal sealed record Test(int Line, Expression Value, string Name, Expression? Argument) : Expression(Line);

/// <summary>A filter, <c>value | name(…)</c>, or a method, <c>value.name(…)</c>.</summary>
/// <param name="Line">Line of the template.</param>
/// <param name="Value">What stands in front.</param>
/// <param name="Callee">The filter or method.</param>
/// <param name="Arguments">One for each parameter; null where none was given.</param>
internal sealed record Call(int Line, Expression Value, Callable Callee, IReadOnlyList<Expression?> Arguments)
    : Expression(Line);

/// <summary>The filters map, select, reject, selectattr and rejectattr.</summary>
/// <param name="Line">Line of the template.</param>
/// <param name="Value">The items.</param>
/// <param name="Result">What is made of an item, whose name is <see cref="ItemName"/>.</param>
/// <param name="IsSelection">Whether the result decides if the item stays, rather than take its place.</param>
internal sealed record ForEach(int Line, Expression Value, Expression Result, bool IsSelection) : Expression(Line)
{
    /// <summary>No name that a template could use.</summary>
    public const string ItemName = "(item)";
}

/// <summary>An attribute such as <c>function.name</c>, as filters take it: a path of keys and indices.</summary>
internal sealed record PathAccess(int Line, Expression Value, Expression Path) : Expression(Line);

/// <summary><c>name(…)</c>: a macro or one of the functions of <see cref="TemplateFunctions"/>.</summary>
internal sealed record FunctionCall(
    int Line, string Function, IReadOnlyList<Expression> Positional, IReadOnlyList<(string Name, Expression Value)> Named)
    : Expression(Line);
