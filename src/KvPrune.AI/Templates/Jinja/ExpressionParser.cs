using System.Globalization;
using System.Text;

namespace KvPrune.AI.Templates.Jinja;

/// <summary>
/// Parses expressions, with the precedence of Jinja 2: or, and, not, comparison, + -, ~, * // %, sign, postfix and
/// filter.
/// </summary>
internal sealed class ExpressionParser
{
    private readonly TokenStream _tokens;
    private readonly PostfixParser _postfix;
    private readonly HashSet<string> _names = [];
    private int _nesting;

    public ExpressionParser(TokenStream tokens)
    {
        _tokens = tokens;
        _postfix = new PostfixParser(tokens, this);
    }

    /// <summary>Every name that was read as a variable.</summary>
    public IReadOnlySet<string> Names => _names;

    /// <summary>Every attribute and every key written as a constant.</summary>
    public IReadOnlySet<string> Attributes => _postfix.Attributes;

    /// <summary>Calls of functions or macros; which names are macros is known only at the end of the template.</summary>
    public IReadOnlyList<FunctionCall> Calls => _postfix.Calls;

    public static bool IsReserved(string name) =>
        name is "true" or "True" or "false" or "False" or "none" or "None"
            or "and" or "or" or "not" or "in" or "is" or "if" or "else";

    /// <summary>A whole expression, <c>a if b else c</c> included.</summary>
    public Expression Parse()
    {
        Expression value = ParseOr();
        while (_tokens.Current.IsName("if"))
        {
            int line = _tokens.Take().Line;
            Expression condition = ParseOr();
            Expression? otherwise = _tokens.TakeName("else") ? Nested(Parse) : null;
            value = new Conditional(line, condition, value, otherwise);
        }

        return value;
    }

    /// <summary>An expression where "if" would mean something else.</summary>
    public Expression ParseWithoutConditional() => ParseOr();

    /// <summary>The argument of a test: a value with what follows it, but no filters and no operators.</summary>
    public Expression ParseTestArgument() => Nested(() => _postfix.Parse(ParsePrimary(), withFilters: false));

    /// <summary>An expression or several with commas between them, which make a tuple, up to the end of the tag.</summary>
    public Expression ParseTuple(bool withConditional)
    {
        Expression first = ParseItem();
        if (!_tokens.Current.IsOperator(","))
            return first;
        List<Expression> items = [first];
        while (_tokens.TakeOperator(","))
        {
            if (_tokens.Current.Kind is TokenKind.BlockEnd or TokenKind.VariableEnd)
                break;
            items.Add(ParseItem());
        }

        return new ListLiteral(first.Line, items, IsTuple: true);

        Expression ParseItem() => withConditional ? Parse() : ParseOr();
    }

    private Expression ParseOr()
    {
        Expression left = ParseAnd();
        while (_tokens.Current.IsName("or"))
            left = new Logical(_tokens.Take().Line, IsAnd: false, left, ParseAnd());
        return left;
    }

    private Expression ParseAnd()
    {
        Expression left = ParseNot();
        while (_tokens.Current.IsName("and"))
            left = new Logical(_tokens.Take().Line, IsAnd: true, left, ParseNot());
        return left;
    }

    private Expression ParseNot()
    {
        if (!_tokens.Current.IsName("not"))
            return ParseComparison();
        int line = _tokens.Take().Line;
        return new Not(line, Nested(ParseNot));
    }

    private Expression ParseComparison()
    {
        Expression first = ParseSum();
        List<(string, Expression)> rest = [];
        int line = _tokens.Current.Line;
        while (TakeComparison() is string @operator)
            rest.Add((@operator, ParseSum()));
        return rest.Count == 0 ? first : new Comparison(line, first, rest);
    }

    private string? TakeComparison()
    {
        Token token = _tokens.Current;
        if (token.Kind == TokenKind.Operator && token.Text is "==" or "!=" or "<" or "<=" or ">" or ">=")
            return _tokens.Take().Text;
        if (_tokens.TakeName("in"))
            return "in";
        if (!token.IsName("not") || !_tokens.Following.IsName("in"))
            return null;
        _tokens.Take();
        _tokens.Take();
        return "not in";
    }

    private Expression ParseSum() => ParseChain(ParseConcatenation, "+", "-");

    private Expression ParseConcatenation() => ParseChain(ParseProduct, "~");

    private Expression ParseProduct() => ParseChain(() => ParseUnary(withFilters: true), "*", "/", "//", "%", "**");

    private Expression ParseChain(Func<Expression> parseOperand, params ReadOnlySpan<string> operators)
    {
        Expression left = parseOperand();
        while (_tokens.Current.Kind == TokenKind.Operator && operators.Contains(_tokens.Current.Text))
        {
            Token token = _tokens.Take();
            if (token.Text == "**")
                throw _tokens.Fail(token.Line, $"the operator '{token.Text}' is not supported.");
            left = new Arithmetic(token.Line, token.Text, left, parseOperand());
        }

        return left;
    }

    private Expression ParseUnary(bool withFilters)
    {
        Token token = _tokens.Current;
        Expression value;
        if (token.IsOperator("-") || token.IsOperator("+"))
        {
            _tokens.Take();
            value = new Sign(token.Line, token.Text == "-", Nested(() => ParseUnary(withFilters: false)));
        }
        else
        {
            value = Nested(ParsePrimary);
        }

        return Nested(() => _postfix.Parse(value, withFilters));
    }

    private Expression ParsePrimary()
    {
        Token token = _tokens.Take();
        switch (token.Kind)
        {
            case TokenKind.Name when token.Text is "true" or "True" or "false" or "False":
                return new Constant(token.Line, token.Text is "true" or "True");
            case TokenKind.Name when token.Text is "none" or "None":
                return new Constant(token.Line, null);
            case TokenKind.Name when !IsReserved(token.Text):
                _names.Add(token.Text);
                return new Name(token.Line, token.Text);
            case TokenKind.Integer:
                return new Constant(token.Line, long.Parse(token.Text, CultureInfo.InvariantCulture));
            case TokenKind.Real:
                return new Constant(token.Line, double.Parse(token.Text, CultureInfo.InvariantCulture));
            case TokenKind.String:
                var text = new StringBuilder(token.Text);
                while (_tokens.Current.Kind == TokenKind.String)
                    text.Append(_tokens.Take().Text);
                return new Constant(token.Line, TaintedText.Trusted(text.ToString()));
            case TokenKind.Operator when token.Text == "(":
                return ParseParenthesised(token.Line);
            case TokenKind.Operator when token.Text == "[":
                return new ListLiteral(token.Line, ParseItems("]", []), IsTuple: false);
            case TokenKind.Operator when token.Text == "{":
                return ParseMap(token.Line);
            default:
                throw _tokens.Fail(token.Line, $"a value is expected, not {token.Describe()}.");
        }
    }

    private Expression ParseParenthesised(int line)
    {
        if (_tokens.TakeOperator(")"))
            return new ListLiteral(line, [], IsTuple: true);
        Expression first = Parse();
        if (_tokens.TakeOperator(")"))
            return first;
        _tokens.ExpectOperator(",");
        return new ListLiteral(line, ParseItems(")", [first]), IsTuple: true);
    }

    private List<Expression> ParseItems(string end, List<Expression> items)
    {
        while (!_tokens.TakeOperator(end))
        {
            items.Add(Parse());
            if (!_tokens.Current.IsOperator(end))
                _tokens.ExpectOperator(",");
        }

        return items;
    }

    private MapLiteral ParseMap(int line)
    {
        var items = new List<(Expression, Expression)>();
        while (!_tokens.TakeOperator("}"))
        {
            Expression key = Parse();
            _tokens.ExpectOperator(":");
            items.Add((key, Parse()));
            if (!_tokens.Current.IsOperator("}"))
                _tokens.ExpectOperator(",");
        }

        return new MapLiteral(line, items);
    }

    private Expression Nested(Func<Expression> parse)
    {
        if (++_nesting > TemplateLimits.ExpressionNesting)
            throw _tokens.Fail("the expression is nested too deeply.");
        Expression value = parse();
        _nesting--;
        return value;
    }
}
