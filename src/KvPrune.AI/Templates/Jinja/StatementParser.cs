namespace KvPrune.AI.Templates.Jinja;

/// <summary>Parses a template: text, expressions to print, and statements.</summary>
internal sealed class StatementParser
{
    private readonly TokenStream _tokens;
    private readonly ExpressionParser _expressions;
    private readonly HashSet<string> _macros = [];
    private int _nesting;
    private int _loops;

    private StatementParser(TemplateSource source)
    {
        _tokens = new TokenStream(source, TemplateLexer.Read(source));
        _expressions = new ExpressionParser(_tokens);
    }

    /// <exception cref="ChatTemplateException">Anything malformed or unsupported; names the line.</exception>
    public static ParsedTemplate Parse(TemplateSource source)
    {
        var parser = new StatementParser(source);
        List<Statement> body = parser.ParseBody();
        if (parser._tokens.Current.Kind != TokenKind.End)
            throw parser._tokens.Fail($"{parser._tokens.Following.Describe()} ends nothing that was begun.");
        foreach (FunctionCall call in parser._expressions.Calls)
        {
            if (!parser._macros.Contains(call.Function) && TemplateFunctions.FindProblem(call) is { } problem)
                throw parser._tokens.Fail(call.Line, problem);
        }

        return new ParsedTemplate(source, body, parser._expressions.Names, parser._expressions.Attributes);
    }

    // Stops before a tag that may end a body, so that the statement it belongs to can look at it.
    private List<Statement> ParseBody()
    {
        if (++_nesting > TemplateLimits.BlockNesting)
            throw _tokens.Fail($"more than {TemplateLimits.BlockNesting} blocks lie within each other.");

        var body = new List<Statement>();
        while (_tokens.Current.Kind != TokenKind.End)
        {
            if (_tokens.Current.Kind == TokenKind.BlockBegin && _tokens.Following is
                {
                    Kind: TokenKind.Name,
                    Text: "elif" or "else" or "endif" or "endfor" or "endset" or "endmacro" or "endgeneration",
                })
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
            Expression value = _expressions.ParseTuple(withConditional: true);
            _tokens.Expect(TokenKind.VariableEnd, "'}}'");
            return new WriteValue(token.Line, value);
        }

        Token keyword = _tokens.Expect(TokenKind.Name, "the name of a statement");
        return keyword.Text switch
        {
            "if" => ParseIf(token.Line),
            "for" => ParseFor(token.Line),
            "set" => ParseSet(token.Line),
            "macro" => ParseMacro(token.Line),
            "generation" => ParseGeneration(token.Line),
            "break" or "continue" => ParseLoopControl(keyword),
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
        Target target = ParseTarget();
        if (target.Attribute is not null)
            throw _tokens.Fail("a loop sets variables, not attributes.");
        if (!_tokens.TakeName("in"))
            throw _tokens.Fail($"'in' is expected, not {_tokens.Current.Describe()}.");
        Expression items = _expressions.ParseTuple(withConditional: false);
        Expression? filter = _tokens.TakeName("if") ? _expressions.Parse() : null;
        EndTag();

        _loops++;
        List<Statement> body = ParseBody();
        _loops--;
        List<Statement> otherwise = [];
        if (TakeEnd("for", line, ["else", "endfor"]) == "else")
        {
            EndTag();
            otherwise = ParseBody();
            TakeEnd("for", line, ["endfor"]);
        }

        EndTag();
        return new For(line, target, items, filter, body, otherwise);
    }

    private LoopControl ParseLoopControl(Token keyword)
    {
        if (_loops == 0)
            throw _tokens.Fail(keyword.Line, $"'{keyword.Text}' stands in no loop.");
        EndTag();
        return new LoopControl(keyword.Line, keyword.Text == "break");
    }

    private Statement ParseSet(int line)
    {
        Target target = ParseTarget();
        if (_tokens.TakeOperator("="))
        {
            Expression value = _expressions.ParseTuple(withConditional: true);
            EndTag();
            return new Set(line, target, value);
        }

        if (target.IsUnpacking)
            throw _tokens.Fail($"'=' is expected, not {_tokens.Current.Describe()}.");
        EndTag();
        return new SetBlock(line, target, ParseBlock("set", line));
    }

    private Macro ParseMacro(int line)
    {
        string name = ParseVariable();
        _tokens.ExpectOperator("(");
        var parameters = new List<(string, Expression?)>();
        while (!_tokens.TakeOperator(")"))
        {
            if (parameters.Count > 0)
                _tokens.ExpectOperator(",");
            string parameter = ParseVariable();
            if (parameter is "caller" or "varargs" or "kwargs")
                throw _tokens.Fail($"a parameter '{parameter}' is not supported.");
            Expression? value = _tokens.TakeOperator("=") ? _expressions.Parse() : null;
            if (value is null && parameters.Count > 0 && parameters[^1].Item2 is not null)
                throw _tokens.Fail($"the parameter '{parameter}' has no default, but one before it has.");
            if (parameters.Any(other => other.Item1 == parameter))
                throw _tokens.Fail($"there are two parameters '{parameter}'.");
            parameters.Add((parameter, value));
        }

        EndTag();
        // A break in a macro would leave a loop around its definition.
        int loops = _loops;
        _loops = 0;
        bool readBefore = ReadsSpecialNames();
        IReadOnlyList<Statement> body = ParseBlock("macro", line);
        _loops = loops;
        if (!readBefore && ReadsSpecialNames())
            throw _tokens.Fail(line, "'caller', 'varargs' and 'kwargs' are not supported in macros.");
        _macros.Add(name);
        return new Macro(line, name, parameters, body);
    }

    private bool ReadsSpecialNames() => _expressions.Names.Overlaps(["caller", "varargs", "kwargs"]);

    private Generation ParseGeneration(int line)
    {
        EndTag();
        int loops = _loops;
        _loops = 0;
        IReadOnlyList<Statement> body = ParseBlock("generation", line);
        _loops = loops;
        return new Generation(line, body);
    }

    private List<Statement> ParseBlock(string statement, int line)
    {
        List<Statement> body = ParseBody();
        TakeEnd(statement, line, ["end" + statement]);
        EndTag();
        return body;
    }

    private Target ParseTarget()
    {
        bool isBracketed = _tokens.TakeOperator("(");
        string first = ParseVariable();
        if (!isBracketed && _tokens.TakeOperator("."))
            return new Target([first], IsUnpacking: false, _tokens.Expect(TokenKind.Name, "the name of an attribute").Text);

        List<string> names = [first];
        bool isUnpacking = false;
        while (_tokens.TakeOperator(","))
        {
            isUnpacking = true;
            if (_tokens.Current.Kind == TokenKind.Name && !_tokens.Current.IsName("in"))
                names.Add(ParseVariable());
        }

        if (isBracketed)
            _tokens.ExpectOperator(")");
        return new Target(names, isUnpacking, Attribute: null);
    }

    private string ParseVariable()
    {
        Token name = _tokens.Expect(TokenKind.Name, "the name of a variable");
        return ExpressionParser.IsReserved(name.Text) || name.Text == "loop"
            ? throw _tokens.Fail(name.Line, $"'{name.Text}' cannot be assigned.")
            : name.Text;
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
