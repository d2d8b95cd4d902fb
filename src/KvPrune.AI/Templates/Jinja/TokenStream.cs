namespace KvPrune.AI.Templates.Jinja;

/// <summary>A cursor over the tokens, shared by the parsers of statements and expressions.</summary>
internal sealed class TokenStream(TemplateSource source, IReadOnlyList<Token> tokens)
{
    private int _position;

    public Token Current => tokens[_position];

    public Token Following => tokens[Math.Min(_position + 1, tokens.Count - 1)];

    public Token Take()
    {
        Token token = Current;
        if (token.Kind != TokenKind.End)
            _position++;
        return token;
    }

    public bool TakeOperator(string text)
    {
        if (!Current.IsOperator(text))
            return false;
        _position++;
        return true;
    }

    public bool TakeName(string text)
    {
        if (!Current.IsName(text))
            return false;
        _position++;
        return true;
    }

    public Token Expect(TokenKind kind, string what) =>
        Current.Kind == kind ? Take() : throw Fail($"{what} is expected, not {Current.Describe()}.");

    public void ExpectOperator(string text)
    {
        if (!TakeOperator(text))
            throw Fail($"'{text}' is expected, not {Current.Describe()}.");
    }

    public ChatTemplateException Fail(string problem) => source.Fail(Current.Line, problem);

    public ChatTemplateException Fail(int line, string problem) => source.Fail(line, problem);
}
