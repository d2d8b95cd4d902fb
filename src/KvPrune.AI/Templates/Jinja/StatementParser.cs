namespace KvPrune.AI.Templates.Jinja;

/// <summary>Parses a template: text, expressions to print, and the statements if, for and set.</summary>
internal sealed class StatementParser
{
    private readonly TokenStream _tokens;
    private readonly ExpressionParser _expressions;
    private int _nesting;

    private StatementParser(TemplateSource source)
    {
        _tokens = new TokenStream(source, TemplateLexer.Read(source));
        _expressions = new ExpressionParser(_tokens);
    }

    /// <exception cref="ChatTemplateException">Anything malformed or unsupported; names the line.</exception>
    public static IReadOnlyList<Statement> Parse(TemplateSource source)
    {
        var parser = new StatementParser(source);
        List<Statement> body = parser.ParseBody();
        return parser._tokens.Current.Kind == TokenKind.End
            ? body
            : throw parser._tokens.Fail($"{parser._tokens.Following.Describe()} ends nothing that was begun.");
    }

    // Stops before a tag that may end a body, so that the statement it belongs to can look at it.
    private List<Statement> ParseBody()
    {
        if (++_nesting > TemplateLimits.BlockNesting)
            throw _tokens.Fail($"more than {TemplateLimits.BlockNesting} blocks lie within each other.");

        var body = new List<Statement>();
        while (_tokens.Current.Kind != TokenKind.End)
        {
            if (_tokens.Current.Kind == TokenKind.BlockBegin
                && _tokens.Following is { Kind: TokenKind.Name, Text: "elif" or "else" or "endif" or "endfor" or "endset" })
            {
                break;
            }

            body.Add(ParseStatement());
        }

        _nesting--;
        return body;
    }

    private Statement ParseStatement()
    {
        Token token = _tokens.Take();
        if (token.Kind == TokenKind.Data)
            return new WriteText(token.Line, TaintedText.Trusted(token.Text));
        if (token.Kind == TokenKind.VariableBegin)
        {
            Expression value = _expressions.Parse();
            _tokens.Expect(TokenKind.VariableEnd, "'}}'");
            return new WriteValue(token.Line, value);
        }

        Token keyword = _tokens.Expect(TokenKind.Name, "the name of a statement");
        return keyword.Text switch
        {
            "if" => ParseIf(token.Line),
            "for" => ParseFor(token.Line),
            "set" => ParseSet(token.Line),
            _ => throw _tokens.Fail(keyword.Line, $"the statement '{keyword.Text}' is not supported."),
        };
    }

    private If ParseIf(int line)
    {
        var branches = new List<(Expression, IReadOnlyList<Statement>)>();
        string keyword = "if";
        while (keyword != "endif")
        {
            bool isLast = keyword == "else";
            Expression condition = isLast ? new Constant(line, true) : _expressions.ParseWithoutConditional();
            EndTag();
            branches.Add((condition, ParseBody()));
            keyword = TakeEnd("if", line, isLast ? ["endif"] : ["elif", "else", "endif"]);
        }

        EndTag();
        return new If(line, branches);
    }

    private For ParseFor(int line)
    {
        string variable = ParseTarget();
        if (!_tokens.TakeName("in"))
            throw _tokens.Fail($"'in' is expected, not {_tokens.Current.Describe()}.");
        Expression items = _expressions.ParseWithoutConditional();
        Expression? filter = _tokens.TakeName("if") ? _expressions.Parse() : null;
        EndTag();

        List<Statement> body = ParseBody();
        List<Statement> otherwise = [];
        if (TakeEnd("for", line, ["else", "endfor"]) == "else")
        {
            EndTag();
            otherwise = ParseBody();
            TakeEnd("for", line, ["endfor"]);
        }

        EndTag();
        return new For(line, variable, items, filter, body, otherwise);
    }

    private Statement ParseSet(int line)
    {
        string variable = ParseTarget();
        if (_tokens.TakeOperator("="))
        {
            Expression value = _expressions.Parse();
            EndTag();
            return new Set(line, variable, value);
        }

        EndTag();
        List<Statement> body = ParseBody();
        TakeEnd("set", line, ["endset"]);
        EndTag();
        return new SetBlock(line, variable, body);
    }

    private string ParseTarget()
    {
        Token name = _tokens.Expect(TokenKind.Name, "the name of a variable");
        if (ExpressionParser.IsReserved(name.Text) || name.Text == "loop")
            throw _tokens.Fail(name.Line, $"'{name.Text}' cannot be assigned.");
        if (_tokens.Current.IsOperator(",") || _tokens.Current.IsOperator("."))
            throw _tokens.Fail("only single variables can be assigned; several at once and attributes are not supported.");
        return name.Text;
    }

    private string TakeEnd(string statement, int line, ReadOnlySpan<string> allowed)
    {
        if (_tokens.Current.Kind == TokenKind.End)
            throw _tokens.Fail(line, $"the '{statement}' has no 'end{statement}'.");
        _tokens.Take();
        Token keyword = _tokens.Take();
        return allowed.Contains(keyword.Text)
            ? keyword.Text
            : throw _tokens.Fail(keyword.Line, $"'{keyword.Text}' does not belong to the '{statement}' of line {line}.");
    }

    private void EndTag() => _tokens.Expect(TokenKind.BlockEnd, "'%}'");
}
