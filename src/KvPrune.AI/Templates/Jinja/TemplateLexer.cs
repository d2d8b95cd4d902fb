namespace KvPrune.AI.Templates.Jinja;

/// <summary>
/// Cuts a template into text and tags, with the white space rules of Jinja 2 under trim_blocks and lstrip_blocks: the
/// first newline after a block or comment goes, as do blanks between the start of a line and a block or comment; "-"
/// takes all white space on its side, "+" switches the rule off. One newline at the very end of the template goes too.
/// </summary>
internal sealed class TemplateLexer
{
    private readonly TemplateSource _source;
    private readonly string _text;
    private readonly List<Token> _tokens = [];
    private int _position;
    private int _line = 1;
    private int _lineCountedTo;

    private TemplateLexer(TemplateSource source)
    {
        _source = source;
        string text = source.Text.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        _text = text.EndsWith('\n') ? text[..^1] : text;
    }

    /// <exception cref="ChatTemplateException">
    /// Something that is no token, or a tag without an end; names the line.
    /// </exception>
    public static List<Token> Read(TemplateSource source) => new TemplateLexer(source).Read();

    private List<Token> Read()
    {
        bool lineStarts = true;
        while (true)
        {
            int tag = FindTag();
            if (tag < 0)
                break;

            char kind = _text[tag + 1];
            char sign = tag + 2 < _text.Length ? _text[tag + 2] : ' ';
            AddData(DataEnd(tag, kind, sign, lineStarts));
            _position = tag + (sign is '-' or '+' ? 3 : 2);
            if (kind == '#')
                SkipComment(tag);
            else
                ReadTag(tag, kind == '%');

            lineStarts = _text[_position - 1] == '\n';
        }

        AddData(_text.Length);
        _tokens.Add(new Token(TokenKind.End, "", LineAt(_text.Length)));
        return _tokens;
    }

    private int FindTag()
    {
        int from = _position;
        while (true)
        {
            int brace = _text.IndexOf('{', from);
            if (brace < 0 || brace + 1 >= _text.Length)
                return -1;
            if (_text[brace + 1] is '{' or '%' or '#')
                return brace;
            from = brace + 1;
        }
    }

    private int DataEnd(int tag, char kind, char sign, bool lineStarts)
    {
        int end = tag;
        if (sign == '-')
        {
            while (end > _position && PythonText.IsWhiteSpace(_text[end - 1]))
                end--;
            return end;
        }

        if (sign == '+' || kind == '{')
            return end;
        while (end > _position && _text[end - 1] != '\n' && PythonText.IsWhiteSpace(_text[end - 1]))
            end--;
        bool reachesLineStart = end > _position ? _text[end - 1] == '\n' : lineStarts;
        return reachesLineStart ? end : tag;
    }

    private void AddData(int end)
    {
        if (end > _position)
            _tokens.Add(new Token(TokenKind.Data, _text[_position..end], LineAt(_position)));
    }

    private void SkipComment(int tag)
    {
        int end = _text.IndexOf("#}", _position, StringComparison.Ordinal);
        if (end < 0)
            throw _source.Fail(LineAt(tag), "the comment has no end.");
        char sign = end > _position ? _text[end - 1] : ' ';
        _position = end + 2;
        SkipAfterTag(sign, trimsNewline: true);
    }

    private void ReadTag(int tag, bool isBlock)
    {
        int line = LineAt(tag);
        _tokens.Add(new Token(isBlock ? TokenKind.BlockBegin : TokenKind.VariableBegin, "", line));
        var reader = new TagReader(_source, _text, isBlock ? "%}" : "}}");
        int first = _tokens.Count;
        while (true)
        {
            while (_position < _text.Length && PythonText.IsWhiteSpace(_text[_position]))
                _position++;
            if (_position >= _text.Length)
                throw _source.Fail(line, "the tag has no end.");
            if (reader.EndsAt(_position, isBlock, out char sign))
            {
                _tokens.Add(new Token(isBlock ? TokenKind.BlockEnd : TokenKind.VariableEnd, "", LineAt(_position)));
                _position += sign == ' ' ? 2 : 3;
                SkipAfterTag(sign, trimsNewline: isBlock);
                return;
            }

            if (_tokens.Count - first >= TemplateLimits.TokensPerTag)
                throw _source.Fail(line, $"the tag has more than {TemplateLimits.TokensPerTag} tokens.");
            _tokens.Add(reader.ReadToken(ref _position, LineAt(_position)));
        }
    }

    private void SkipAfterTag(char sign, bool trimsNewline)
    {
        if (sign == '-')
        {
            while (_position < _text.Length && PythonText.IsWhiteSpace(_text[_position]))
                _position++;
        }
        else if (sign != '+' && trimsNewline && _position < _text.Length && _text[_position] == '\n')
        {
            _position++;
        }
    }

    private int LineAt(int position)
    {
        _line += _text.AsSpan(_lineCountedTo, position - _lineCountedTo).Count('\n');
        _lineCountedTo = position;
        return _line;
    }
}
