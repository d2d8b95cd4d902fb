using System.Globalization;
using System.Text;

namespace KvPrune.AI.Templates.Jinja;

/// <summary>Reads the tokens inside one tag. The end of the tag counts only outside brackets.</summary>
internal sealed class TagReader(TemplateSource source, string text, string end)
{
    private static readonly string[] Operators =
    [
        "//", "**", "==", "!=", ">=", "<=",
        "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";",
    ];

    private readonly Stack<char> _open = new();

    /// <summary>Whether the tag ends here; the sign is '-', in blocks '+' too, or ' '.</summary>
    public bool EndsAt(int position, bool allowsPlus, out char sign)
    {
        sign = ' ';
        if (_open.Count > 0)
            return false;
        if (StartsWith(end, position))
            return true;
        if (text[position] != '-' && !(allowsPlus && text[position] == '+'))
            return false;
        sign = text[position];
        return StartsWith(end, position + 1);
    }

    public Token ReadToken(ref int position, int line)
    {
        char first = text[position];
        if (char.IsLetter(first) || first == '_')
        {
            string name = Take(ref position, value => char.IsLetterOrDigit(value) || value == '_');
            return new Token(TokenKind.Name, name, line);
        }

        if (char.IsAsciiDigit(first))
            return ReadNumber(ref position, line);
        if (first is '\'' or '"')
            return new Token(TokenKind.String, ReadString(ref position, line), line);

        int start = position;
        string @operator = Array.Find(Operators, candidate => StartsWith(candidate, start))
            ?? throw source.Fail(line, $"the character '{first}' means nothing in a tag.");
        position += @operator.Length;
        KeepBalance(@operator[0], line);
        return new Token(TokenKind.Operator, @operator, line);
    }

    private void KeepBalance(char bracket, int line)
    {
        if (bracket is '(' or '[' or '{')
        {
            _open.Push(bracket switch { '(' => ')', '[' => ']', _ => '}' });
        }
        else if (bracket is ')' or ']' or '}')
        {
            if (!_open.TryPop(out char expected))
                throw source.Fail(line, $"'{bracket}' closes nothing.");
            if (expected != bracket)
                throw source.Fail(line, $"'{expected}' is expected, not '{bracket}'.");
        }
    }

    private Token ReadNumber(ref int position, int line)
    {
        // "list.0.1" holds two indices, not a fraction.
        bool followsPoint = position > 0 && text[position - 1] == '.';
        int start = position;
        string digits = Take(ref position, char.IsAsciiDigit);
        bool isReal = !followsPoint && (TakeFraction(ref position) | TakeExponent(ref position));
        string number = text[start..position];
        string rest = Take(ref position, value => char.IsAsciiLetterOrDigit(value) || value == '_');
        if (rest.Length > 0 || (digits.Length > 1 && digits[0] == '0'))
            throw source.Fail(line, $"only plain decimal numbers are supported, not '{number}{rest}'.");
        if (isReal)
            return new Token(TokenKind.Real, number, line);
        if (!long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out _))
            throw source.Fail(line, $"the number {digits} is too large.");
        return new Token(TokenKind.Integer, digits, line);
    }

    private bool TakeFraction(ref int position)
    {
        if (position + 1 >= text.Length || text[position] != '.' || !char.IsAsciiDigit(text[position + 1]))
            return false;
        position++;
        Take(ref position, char.IsAsciiDigit);
        return true;
    }

    private bool TakeExponent(ref int position)
    {
        if (position >= text.Length || text[position] is not ('e' or 'E'))
            return false;
        int digits = position + 1;
        if (digits < text.Length && text[digits] is ('+' or '-'))
            digits++;
        if (digits >= text.Length || !char.IsAsciiDigit(text[digits]))
            return false;
        position = digits;
        Take(ref position, char.IsAsciiDigit);
        return true;
    }

    private string ReadString(ref int position, int line)
    {
        char quote = text[position];
        var value = new StringBuilder();
        for (int i = position + 1; i < text.Length; i++)
        {
            if (text[i] == quote)
            {
                position = i + 1;
                return value.ToString();
            }

            if (text[i] == '\\' && i + 1 < text.Length)
                i += AppendEscape(value, i + 1, line);
            else
                value.Append(text[i]);
        }

        throw source.Fail(line, "the string has no end.");
    }

    // The escapes of Python; an unknown one stays as it is written. Returns the number of characters after the backslash.
    private int AppendEscape(StringBuilder value, int position, int line)
    {
        char letter = text[position];
        switch (letter)
        {
            case '\n': return 1;
            case 'n': value.Append('\n'); return 1;
            case 't': value.Append('\t'); return 1;
            case 'r': value.Append('\r'); return 1;
            case 'f': value.Append('\f'); return 1;
            case 'v': value.Append('\v'); return 1;
            case 'a': value.Append('\a'); return 1;
            case 'b': value.Append('\b'); return 1;
            case '\\' or '\'' or '"': value.Append(letter); return 1;
            case 'x': return AppendCodePoint(value, position, 2, line);
            case 'u': return AppendCodePoint(value, position, 4, line);
            case 'U': return AppendCodePoint(value, position, 8, line);
            case 'N' or (>= '0' and <= '7'): throw source.Fail(line, $"the escape \\{letter} is not supported.");
            default: value.Append('\\').Append(letter); return 1;
        }
    }

    private int AppendCodePoint(StringBuilder value, int position, int digits, int line)
    {
        ReadOnlySpan<char> hex = text.AsSpan(position + 1, Math.Min(digits, text.Length - position - 1));
        if (hex.Length < digits
            || !int.TryParse(hex, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int code)
            || !Rune.IsValid(code))
        {
            throw source.Fail(line, $"\\{text[position]} needs {digits} hexadecimal digits of a character.");
        }

        value.Append(new Rune(code));
        return 1 + digits;
    }

    private string Take(ref int position, Predicate<char> belongs)
    {
        int start = position;
        while (position < text.Length && belongs(text[position]))
            position++;
        return text[start..position];
    }

    private bool StartsWith(string value, int position) =>
        text.AsSpan(Math.Min(position, text.Length)).StartsWith(value, StringComparison.Ordinal);
}
