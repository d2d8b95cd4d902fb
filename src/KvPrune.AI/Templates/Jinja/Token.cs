namespace KvPrune.AI.Templates.Jinja;

internal enum TokenKind
{
    /// <summary>Text outside tags.</summary>
    Data,
    BlockBegin,
    BlockEnd,
    VariableBegin,
    VariableEnd,
    Name,

    /// <summary>A string literal; the text is its value.</summary>
    String,
    Integer,
    Real,
    Operator,
    End,
}

internal readonly record struct Token(TokenKind Kind, string Text, int Line)
{
    public bool IsOperator(string text) => Kind == TokenKind.Operator && Text == text;

    public bool IsName(string text) => Kind == TokenKind.Name && Text == text;

    public string Describe() => Kind switch
    {
        TokenKind.Data => "text",
        TokenKind.BlockEnd => "the end of the tag",
        TokenKind.VariableEnd => "the end of the expression",
        TokenKind.BlockBegin or TokenKind.VariableBegin => "a tag",
        TokenKind.End => "the end of the template",
        TokenKind.String => $"the string '{Text}'",
        _ => $"'{Text}'",
    };
}
