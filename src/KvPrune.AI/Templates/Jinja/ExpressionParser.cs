using System.Globalization;
using System.Text;

namespace KvPrune.AI.Templates.Jinja;

/// <summary>
/// Parses expressions, with the precedence of Jinja 2: or, and, not, comparison, + -, ~, * // %, sign, postfix and
/// filter.
/// </summary>
internal sealed class ExpressionParser(TokenStream tokens)
{
    private readonly PostfixParser _postfix = new(tokens);
    private int _nesting;

    public static bool IsReserved(string name) =>
        name is "true" or "True" or "false" or "False" or "none" or "None"
            or "and" or "or" or "not" or "in" or "is" or "if" or "else";

    /// <summary>A whole expression, <c>a if b else c</c> included.</summary>
    public Expression Parse()
    {
        Expression value = ParseOr();
        while (tokens.Current.IsName("if"))
        {
            int line = tokens.Take().Line;
            Expression condition = ParseOr();
            Expression? otherwise = tokens.TakeName("else") ? Nested(Parse) : null;
            value = new Conditional(line, condition, value, otherwise);
        }

        return value;
    }

    /// <summary>An expression where "if" would mean something else.</summary>
    public Expression ParseWithoutConditional() => ParseOr();

    private Expression ParseOr()
    {
        Expression left = ParseAnd();
        while (tokens.Current.IsName("or"))
            left = new Logical(tokens.Take().Line, IsAnd: false, left, ParseAnd());
        return left;
    }

    private Expression ParseAnd()
    {
        Expression left = ParseNot();
        while (tokens.Current.IsName("and"))
            left = new Logical(tokens.Take().Line, IsAnd: true, left, ParseNot());
        return left;
    }

    private Expression ParseNot()
    {
        if (!tokens.Current.IsName("not"))
            return ParseComparison();
        int line = tokens.Take().Line;
        return new Not(line, Nested(ParseNot));
    }

    private Expression ParseComparison()
    {
        Expression first = ParseSum();
        List<(string, Expression)> rest = [];
        int line = tokens.Current.Line;
        while (TakeComparison() is string @operator)
            rest.Add((@operator, ParseSum()));
        return rest.Count == 0 ? first : new Comparison(line, first, rest);
    }

    private string? TakeComparison()
    {
        Token token = tokens.Current;
        if (token.Kind == TokenKind.Operator && token.Text is "==" or "!=" or "<" or "<=" or ">" or ">=")
            return tokens.Take().Text;
        if (tokens.TakeName("in"))
            return "in";
        if (!token.IsName("not") || !tokens.Following.IsName("in"))
            return null;
        tokens.Take();
        tokens.Take();
        return "not in";
    }

    private Expression ParseSum() => ParseChain(ParseConcatenation, "+", "-");

    private Expression ParseConcatenation() => ParseChain(ParseProduct, "~");

    private Expression ParseProduct() => ParseChain(() => ParseUnary(withFilters: true), "*", "//", "%", "/", "**");

    private Expression ParseChain(Func<Expression> parseOperand, params ReadOnlySpan<string> operators)
    {
        Expression left = parseOperand();
        while (tokens.Current.Kind == TokenKind.Operator && operators.Contains(tokens.Current.Text))
        {
            Token token = tokens.Take();
            if (token.Text is "/" or "**")
                throw tokens.Fail(token.Line, $"the operator '{token.Text}' is not supported.");
            left = new Arithmetic(token.Line, token.Text, left, parseOperand());
        }

        return left;
    }

    private Expression ParseUnary(bool withFilters)
    {
        Token token = tokens.Current;
        Expression value;
        if (token.IsOperator("-") || token.IsOperator("+"))
        {
            tokens.Take();
            value = new Sign(token.Line, token.Text == "-", Nested(() => ParseUnary(withFilters: false)));
        }
        else
        {
            value = Nested(ParsePrimary);
        }

        return Nested(() => _postfix.Parse(value, this, withFilters));
    }

    private Expression ParsePrimary()
    {
        Token token = tokens.Take();
        switch (token.Kind)
        {
            case TokenKind.Name when token.Text is "true" or "True" or "false" or "False":
                return new Constant(token.Line, token.Text is "true" or "True");
            case TokenKind.Name when token.Text is "none" or "None":
                return new Constant(token.Line, null);
            case TokenKind.Name when !IsReserved(token.Text):
                return new Name(token.Line, token.Text);
            case TokenKind.Integer:
                return new Constant(token.Line, long.Parse(token.Text, CultureInfo.InvariantCulture));
            case TokenKind.String:
                var text = new StringBuilder(token.Text);
                while (tokens.Current.Kind == TokenKind.String)
                    text.Append(tokens.Take().Text);
                return new Constant(token.Line, TaintedText.Trusted(text.ToString()));
            case TokenKind.Operator when token.Text == "(":
                return ParseParenthesised(token.Line);
            case TokenKind.Operator when token.Text == "[":
                return new ListLiteral(token.Line, ParseItems("]", []));
            case TokenKind.Operator when token.Text == "{":
                return ParseMap(token.Line);
            default:
                throw tokens.Fail(token.Line, $"a value is expected, not {token.Describe()}.");
        }
    }

    private Expression ParseParenthesised(int line)
    {
        if (tokens.TakeOperator(")"))
            return new ListLiteral(line, []);
        Expression first = Parse();
        if (tokens.TakeOperator(")"))
            return first;
        tokens.ExpectOperator(",");
        return new ListLiteral(line, ParseItems(")", [first]));
    }

    private List<Expression> ParseItems(string end, List<Expression> items)
    {
        while (!tokens.TakeOperator(end))
        {
            items.Add(Parse());
            if (!tokens.Current.IsOperator(end))
                tokens.ExpectOperator(",");
        }

        return items;
    }

    private MapLiteral ParseMap(int line)
    {
        var items = new List<(Expression, Expression)>();
        while (!tokens.TakeOperator("}"))
        {
            Expression key = Parse();
            tokens.ExpectOperator(":");
            items.Add((key, Parse()));
            if (!tokens.Current.IsOperator("}"))
                tokens.ExpectOperator(",");
        }

        return new MapLiteral(line, items);
    }

    private Expression Nested(Func<Expression> parse)
    {
        if (++_nesting > TemplateLimits.ExpressionNesting)
            throw tokens.Fail("the expression is nested too deeply.");
        Expression value = parse();
        _nesting--;
        return value;
    }
}
