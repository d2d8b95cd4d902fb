using System.Globalization;

namespace KvPrune.AI.Templates.Jinja;

/// <summary>
/// Parses what follows a value: attributes, indices, slices, calls, filters and tests. Names and numbers of arguments
/// are checked here, so that a template with an unknown one does not load.
/// </summary>
internal sealed class PostfixParser(TokenStream tokens, ExpressionParser expressions)
{
    private static readonly HashSet<string> LoopAttributes =
        ["index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0", "previtem", "nextitem"];

    private readonly ArgumentParser _arguments = new(tokens, expressions);
    private readonly HashSet<string> _attributes = [];
    private readonly List<FunctionCall> _calls = [];

    /// <inheritdoc cref="ExpressionParser.Attributes"/>
    public IReadOnlySet<string> Attributes => _attributes;

    /// <inheritdoc cref="ExpressionParser.Calls"/>
    public IReadOnlyList<FunctionCall> Calls => _calls;

    public Expression Parse(Expression value, bool withFilters)
    {
        while (true)
        {
            Token token = tokens.Current;
            if (tokens.TakeOperator("."))
                value = ParseAttribute(value, token.Line);
            else if (tokens.TakeOperator("["))
                value = ParseSubscript(value, token.Line);
            else if (tokens.TakeOperator("("))
                value = ParseCall(value, token.Line);
            else
                break;
        }

        while (withFilters)
        {
            Token token = tokens.Current;
            if (tokens.TakeOperator("|"))
                value = ParseFilter(value);
            else if (tokens.TakeName("is"))
                value = ParseTest(value, token.Line);
            else
                break;
        }

        return value;
    }

    private Expression ParseAttribute(Expression value, int line)
    {
        if (tokens.Current.Kind == TokenKind.Integer)
        {
            long index = long.Parse(tokens.Take().Text, CultureInfo.InvariantCulture);
            return new IndexAccess(line, value, new Constant(line, index));
        }

        string attribute = tokens.Expect(TokenKind.Name, "the name of an attribute").Text;
        if (value is Name { Identifier: "loop" } && !LoopAttributes.Contains(attribute))
            throw tokens.Fail(line, $"'loop.{attribute}' is not supported.");
        if (tokens.TakeOperator("("))
        {
            Callable method = Methods.Find(attribute)
                ?? throw tokens.Fail(line, $"the method '{attribute}' is not supported.");
            return new Call(line, value, method, _arguments.ParseFor(method, line));
        }

        _attributes.Add(attribute);
        return new AttributeAccess(line, value, attribute);
    }

    private Expression ParseSubscript(Expression value, int line)
    {
        Expression? start = tokens.Current.IsOperator(":") ? null : expressions.Parse();
        if (start is not null && tokens.TakeOperator("]"))
        {
            if (start is Constant { Value: TaintedText key })
                _attributes.Add(key.Value);
            return new IndexAccess(line, value, start);
        }

        tokens.ExpectOperator(":");
        Expression? stop = ParseSlicePart();
        Expression? step = tokens.TakeOperator(":") ? ParseSlicePart() : null;
        tokens.ExpectOperator("]");
        return new SliceAccess(line, value, start, stop, step);
    }

    private Expression? ParseSlicePart() =>
        tokens.Current.IsOperator(":") || tokens.Current.IsOperator("]") ? null : expressions.Parse();

    private FunctionCall ParseCall(Expression function, int line)
    {
        if (function is not Name name)
            throw tokens.Fail(line, "this call is not supported; only functions, macros and methods are called.");
        (IReadOnlyList<Expression> positional, IReadOnlyList<(string, Expression)> named) = _arguments.Parse();
        var call = new FunctionCall(line, name.Identifier, positional, named);
        _calls.Add(call);
        return call;
    }

    private Expression ParseFilter(Expression value)
    {
        Token name = tokens.Expect(TokenKind.Name, "the name of a filter");
        bool hasArguments = tokens.TakeOperator("(");
        if (name.Text is "map" or "select" or "reject" or "selectattr" or "rejectattr")
            return ParseForEach(value, name, hasArguments);
        Callable filter = Filters.Find(name.Text)
            ?? throw tokens.Fail(name.Line, $"the filter '{name.Text}' is not supported.");
        return new Call(name.Line, value, filter, hasArguments
            ? _arguments.ParseFor(filter, name.Line)
            : _arguments.Bind(filter, [], [], name.Line));
    }

    private ForEach ParseForEach(Expression items, Token name, bool hasArguments)
    {
        int line = name.Line;
        (IReadOnlyList<Expression> positional, IReadOnlyList<(string Name, Expression Value)> named) =
            hasArguments ? _arguments.Parse() : ([], []);
        var item = new Name(line, ForEach.ItemName);
        if (name.Text == "map")
            return new ForEach(line, items, MakeMapping(item, positional, named, line), IsSelection: false);
        if (named.Count > 0)
            throw tokens.Fail(line, $"'{name.Text}' takes no arguments with names.");

        bool takesAttribute = name.Text.EndsWith("attr", StringComparison.Ordinal);
        if (takesAttribute && positional.Count == 0)
            throw tokens.Fail(line, $"'{name.Text}' needs an attribute.");
        Expression value = takesAttribute ? new PathAccess(line, item, positional[0]) : item;
        Expression[] rest = [.. positional.Skip(takesAttribute ? 1 : 0)];
        Expression chosen = rest.Length == 0 ? value : MakeTest(value, ConstantName(rest[0], "test", line), rest[1..], line);
        return new ForEach(
            line, items, name.Text.StartsWith("reject", StringComparison.Ordinal) ? new Not(line, chosen) : chosen, IsSelection: true);
    }

    // map('filter', …) or map(attribute=…, default=…).
    private Expression MakeMapping(
        Name item, IReadOnlyList<Expression> positional, IReadOnlyList<(string Name, Expression Value)> named, int line)
    {
        if (positional.Count > 0)
        {
            string name = ConstantName(positional[0], "filter", line);
            Callable filter = Filters.Find(name) ?? throw tokens.Fail(line, $"the filter '{name}' is not supported.");
            return new Call(line, item, filter, _arguments.Bind(filter, [.. positional.Skip(1)], named, line));
        }

        Expression? Named(string name) => named.Where(argument => argument.Name == name).Select(argument => argument.Value).FirstOrDefault();
        if (Named("attribute") is not { } attribute || named.Any(argument => argument.Name is not ("attribute" or "default")))
            throw tokens.Fail(line, "'map' takes a filter, or 'attribute=…' and 'default=…'.");
        var access = new PathAccess(line, item, attribute);
        return Named("default") is { } otherwise
            ? new Conditional(line, new Test(line, access, "defined", null), access, otherwise)
            : access;
    }

    private string ConstantName(Expression name, string what, int line) => name is Constant { Value: TaintedText text }
        ? text.Value
        : throw tokens.Fail(line, $"the name of a {what} is expected, in quotes.");

    private Expression ParseTest(Expression value, int line)
    {
        bool negated = tokens.TakeName("not");
        string name = tokens.Expect(TokenKind.Name, "the name of a test").Text;
        Expression[] arguments = [];
        if (!ValueTests.IsKnown(name))
            throw tokens.Fail(line, $"the test '{name}' is not supported.");
        if (ValueTests.TakesArgument(name))
            arguments = [expressions.ParseTestArgument()];
        else if (tokens.Current.IsOperator("("))
            throw tokens.Fail(line, $"the test '{name}' takes no argument.");
        Test test = MakeTest(value, name, arguments, line);
        return negated ? new Not(line, test) : test;
    }

    private Test MakeTest(Expression value, string name, Expression[] arguments, int line)
    {
        if (name == "==")
            name = "eq";
        if (!ValueTests.IsKnown(name))
            throw tokens.Fail(line, $"the test '{name}' is not supported.");
        if (arguments.Length != (ValueTests.TakesArgument(name) ? 1 : 0))
            throw tokens.Fail(line, $"the test '{name}' takes {(ValueTests.TakesArgument(name) ? "one" : "no")} argument.");
        return new Test(line, value, name, arguments.FirstOrDefault());
    }
}
