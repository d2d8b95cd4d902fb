using System.Globalization;
using System.Text;

namespace KvPrune.AI.Tokenization;

/// <summary>
/// Writes a pattern in Oniguruma's Ruby syntax, which Hugging Face's tokenizers use, as a .NET pattern that matches the same.
/// </summary>
/// <remarks>
/// Covers what split patterns are made of: alternatives, groups, look-ahead, classes, general categories, quantifiers,
/// possessive ones too. Whatever the two engines read differently is written out (case folding) or refused (anchors,
/// word characters, scripts, set operations), as are repeated groups, which may take exponential time, and characters
/// that stand for others in <see cref="PieceSplitter"/>. Syntax: https://github.com/kkos/oniguruma/blob/master/doc/RE.
/// </remarks>
internal sealed class SplitPatternTranslator(string pattern)
{
    private const int LongestPattern = 4096;
    private const int DeepestGroup = 16;
    private const int MostRepeats = 1000;

    private readonly StringBuilder _output = new();
    private int _position;
    private int _depth;
    private char _foldedBefore;

    /// <exception cref="FormatException">A construct that is not supported; says which.</exception>
    public string Translate()
    {
        if (pattern.Length > LongestPattern)
            throw new FormatException($"a pattern of more than {LongestPattern} characters");
        bool mayBeEmpty = Alternatives(ignoreCase: false);
        if (!AtEnd)
            throw Unsupported("')' without '('");
        return mayBeEmpty ? throw new FormatException("a pattern that matches the empty text") : _output.ToString();
    }

    private bool AtEnd => _position == pattern.Length;

    private char Current => pattern[_position];

    // Whether it may match the empty text, as the methods below.
    private bool Alternatives(bool ignoreCase)
    {
        bool mayBeEmpty = Sequence(ignoreCase);
        while (Take("|"))
        {
            _output.Append('|');
            mayBeEmpty |= Sequence(ignoreCase);
        }

        return mayBeEmpty;
    }

    private bool Sequence(bool ignoreCase)
    {
        bool mayBeEmpty = true;
        _foldedBefore = '\0';
        while (!AtEnd && Current is not ('|' or ')'))
            mayBeEmpty &= Term(ignoreCase);
        return mayBeEmpty;
    }

    private bool Term(bool ignoreCase)
    {
        int start = _output.Length;
        switch (Current)
        {
            case '(':
                return Group(ignoreCase, start);
            case '[':
                _position++;
                _foldedBefore = '\0';
                new SplitPatternClass(pattern, _output, ignoreCase).Translate(ref _position);
                break;
            case '\\':
                _foldedBefore = '\0';
                if (SplitPatternClass.EscapedSet(pattern, ref _position, ignoreCase) is { } set)
                    _output.Append(set);
                else
                    Literal(SplitPatternClass.EscapedCharacter(pattern, ref _position), ignoreCase);
                break;
            case '.' or '^' or '$' or '*' or '+' or '?' or '{':
                throw Unsupported($"'{Current}'");
            default:
                Literal(pattern[_position++], ignoreCase);
                break;
        }

        return Quantifier(start);
    }

    private bool Group(bool ignoreCase, int start)
    {
        if (++_depth > DeepestGroup)
            throw Unsupported("groups nested this deep");
        bool looksAhead = false;
        if (Take("(?="))
            looksAhead = Open("(?=");
        else if (Take("(?!"))
            looksAhead = Open("(?!");
        else if (Take("(?i:"))
            ignoreCase = Open("(?:");
        else if (Take("(?:") || (!LooksAt("(?") && Take("(")))
            Open("(?:");
        else
            throw Unsupported("this kind of group");

        bool mayBeEmpty = Alternatives(ignoreCase);
        if (!Take(")"))
            throw Unsupported("'(' without ')'");
        _output.Append(')');
        _depth--;
        _foldedBefore = '\0';
        if (AtEnd || Current is not ('*' or '+' or '?' or '{'))
            return mayBeEmpty || looksAhead;
        if (looksAhead || Current != '?')
            throw Unsupported("repeating a group");
        return Quantifier(start);
    }

    private bool Open(string text)
    {
        _output.Append(text);
        return true;
    }

    // One character in the pattern; .NET folds case by other rules, so the members of the fold are written out.
    private void Literal(char value, bool ignoreCase)
    {
        if (char.IsSurrogate(value) || PieceSplitter.IsStandIn(value))
            throw Unsupported($"the character U+{(int)value:X4}");
        if (!ignoreCase || !char.IsAsciiLetter(value))
        {
            if (ignoreCase && !char.IsAscii(value))
                throw Unsupported($"'{value}' in any case");
            SplitPatternClass.Append(_output, value);
            _foldedBefore = '\0';
            return;
        }

        // Each of these also stands for a single character, such as ß.
        char lower = char.ToLowerInvariant(value);
        if ((_foldedBefore, lower) is ('s', 's') or ('s', 't') or ('f', 'f') or ('f', 'i') or ('f', 'l'))
            throw Unsupported($"'{_foldedBefore}{lower}' in any case");
        _output.Append('[').Append(SplitPatternClass.Folds(value)).Append(']');
        _foldedBefore = lower;
    }

    private bool Quantifier(int start)
    {
        if (AtEnd || Current is not ('*' or '+' or '?' or '{'))
            return false;
        bool mayBeEmpty = Current is '*' or '?';
        if (Current == '{')
        {
            mayBeEmpty = Interval() == 0;
        }
        else
        {
            _output.Append(pattern[_position++]);
            if (Take("+"))
                _output.Insert(start, "(?>").Append(')');
            else if (Take("?"))
                _output.Append('?');
        }

        if (!AtEnd && Current is '*' or '+' or '?' or '{')
            throw Unsupported("a quantifier after a quantifier");
        return mayBeEmpty;
    }

    // {n}, {n,} and {n,m}; returns n.
    private int Interval()
    {
        int end = pattern.IndexOf('}', _position);
        string[] limits = end < 0 ? [] : pattern[(_position + 1)..end].Split(',');
        if (limits.Length is not (1 or 2) || Limit(limits[0]) is not { } least)
            throw Unsupported("'{' that is no interval");
        int? most = limits is [_, not ""] ? Limit(limits[1]) : limits.Length == 1 ? least : MostRepeats;
        if (most is null or 0 || most < least)
            throw Unsupported("this interval");
        _output.Append(CultureInfo.InvariantCulture, $"{{{string.Join(',', limits)}}}");
        _position = end + 1;
        return least;
    }

    private static int? Limit(string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value) && value <= MostRepeats
            ? value
            : null;

    private bool LooksAt(string text) => string.CompareOrdinal(pattern, _position, text, 0, text.Length) == 0;

    private bool Take(string text)
    {
        if (!LooksAt(text))
            return false;
        _position += text.Length;
        return true;
    }

    private FormatException Unsupported(string what) => new($"{what} at character {_position}");
}
