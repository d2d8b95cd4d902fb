using System.Globalization;

namespace KvPrune.AI.Templates.Jinja;

/// <summary>
/// Parses what follows a value: attributes, indices, slices, method calls, filters and tests. Names are checked here,
/// so that a template with an unknown one does not load.
/// </summary>
internal sealed class PostfixParser(TokenStream tokens)
{
    private static readonly HashSet<string> LoopAttributes =
        ["index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0", "previtem", "nextitem"];

    private static readonly HashSet<string> Tests =
    [
        "defined", "undefined", "none", "true", "false", "boolean", "integer", "number", "string", "mapping", "sequence",
        "iterable",
    ];

    public Expression Parse(Expression value, ExpressionParser expressions, bool withFilters)
    {
        while (true)
        {
            Token token = tokens.Current;
            if (tokens.TakeOperator("."))
                value = ParseAttribute(value, expressions, token.Line);
            else if (tokens.TakeOperator("["))
                value = ParseSubscript(value, expressions, token.Line);
            else if (tokens.TakeOperator("("))
                value = ParseCall(value, expressions, token.Line);
            else
                break;
        }

        while (withFilters)
        {
            Token token = tokens.Current;
            if (tokens.TakeOperator("|"))
                value = ParseFilter(value, expressions);
            else if (tokens.TakeName("is"))
                value = ParseTest(value, token.Line);
            else
                break;
        }

        return value;
    }

    private Expression ParseAttribute(Expression value, ExpressionParser expressions, int line)
    {
        if (tokens.Current.Kind == TokenKind.Integer)
        {
            long index = long.Parse(tokens.Take().Text, CultureInfo.InvariantCulture);
            return new IndexAccess(line, value, new Constant(line, index));
        }

        string attribute = tokens.Expect(TokenKind.Name, "the name of an attribute").Text;
        if (tokens.TakeOperator("("))
            return ParseMethod(value, attribute, expressions, line);
        if (value is Name { Identifier: "loop" } && !LoopAttributes.Contains(attribute))
            throw tokens.Fail(line, $"'loop.{attribute}' is not supported.");
        return new AttributeAccess(line, value, attribute);
    }

    private Strip ParseMethod(Expression value, string method, ExpressionParser expressions, int line)
    {
        if (method is not ("strip" or "lstrip" or "rstrip"))
            throw tokens.Fail(line, $"the method '{method}' is not supported.");
        Expression? characters = ParseOptionalArgument(expressions, method);
        return new Strip(line, value, characters, Left: method != "rstrip", Right: method != "lstrip", IsFilter: false);
    }

    private Expression ParseSubscript(Expression value, ExpressionParser expressions, int line)
    {
        Expression? start = tokens.Current.IsOperator(":") ? null : expressions.Parse();
        if (start is not null && tokens.TakeOperator("]"))
            return new IndexAccess(line, value, start);

        tokens.ExpectOperator(":");
        Expression? stop = ParseSlicePart(expressions);
        Expression? step = tokens.TakeOperator(":") ? ParseSlicePart(expressions) : null;
        tokens.ExpectOperator("]");
        return new SliceAccess(line, value, start, stop, step);
    }

    private Expression? ParseSlicePart(ExpressionParser expressions) =>
        tokens.Current.IsOperator(":") || tokens.Current.IsOperator("]") ? null : expressions.Parse();

    private RaiseException ParseCall(Expression function, ExpressionParser expressions, int line)
    {
        if (function is not Name { Identifier: "raise_exception" })
        {
            string what = function is Name name ? $"the function '{name.Identifier}'" : "this call";
            throw tokens.Fail(line, $"{what} is not supported.");
        }

        Expression message = ParseOptionalArgument(expressions, "raise_exception")
            ?? throw tokens.Fail(line, "raise_exception needs a message.");
        return new RaiseException(line, message);
    }

    private Expression ParseFilter(Expression value, ExpressionParser expressions)
    {
        Token filter = tokens.Expect(TokenKind.Name, "the name of a filter");
        bool hasArguments = tokens.TakeOperator("(");
        switch (filter.Text)
        {
            case "trim":
                Expression? characters = hasArguments ? ParseOptionalArgument(expressions, "trim") : null;
                return new Strip(filter.Line, value, characters, Left: true, Right: true, IsFilter: true);
            case "tojson":
                Expression? indent = null;
                if (hasArguments && !tokens.TakeOperator(")"))
                {
                    if (!tokens.TakeName("indent") || !tokens.TakeOperator("="))
                        throw tokens.Fail("'tojson' takes only the argument 'indent=…'.");
                    indent = expressions.Parse();
                    tokens.ExpectOperator(")");
                }

                return new ToJson(filter.Line, value, indent);
            default:
                throw tokens.Fail(filter.Line, $"the filter '{filter.Text}' is not supported.");
        }
    }

    private Expression ParseTest(Expression value, int line)
    {
        bool negated = tokens.TakeName("not");
        string name = tokens.Expect(TokenKind.Name, "the name of a test").Text;
        if (!Tests.Contains(name))
            throw tokens.Fail(line, $"the test '{name}' is not supported.");
        if (tokens.Current.IsOperator("("))
            throw tokens.Fail(line, $"the test '{name}' takes no argument.");
        var test = new Test(line, value, name);
        return negated ? new Not(line, test) : test;
    }

    // After the opening parenthesis.
    private Expression? ParseOptionalArgument(ExpressionParser expressions, string callee)
    {
        if (tokens.TakeOperator(")"))
            return null;
        Expression argument = expressions.Parse();
        if (!tokens.TakeOperator(")"))
            throw tokens.Fail($"'{callee}' takes one argument at most, without a name.");
        return argument;
    }
}
