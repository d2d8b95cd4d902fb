using System.Globalization;
using System.Text;

namespace KvPrune.AI.Tokenization;

/// <summary>Writes the character classes of a split pattern, and single characters, so that .NET reads them alike.</summary>
internal readonly struct SplitPatternClass(string pattern, StringBuilder output, bool ignoreCase)
{
    private static readonly HashSet<string> Categories =
    [
        "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
        "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp",
    ];

    /// <summary>What follows a '[', up to and including its ']'.</summary>
    /// <exception cref="FormatException">A construct that is not supported; says which.</exception>
    public void Translate(ref int position)
    {
        output.Append('[');
        if (Peek(position) == '^')
        {
            if (ignoreCase)
                throw Unsupported("a negated class in any case", position);
            output.Append('^');
            position++;
        }

        if (Peek(position) == ']')
            throw Unsupported("a class that begins with ']'", position);
        while (Peek(position) != ']')
            Item(ref position);
        position++;
        output.Append(']');
    }

    /// <summary>\s, \S, \d, \D, \p{…} and \P{…}, which mean the same to both engines; null for another escape.</summary>
    public static string? EscapedSet(string pattern, ref int position, bool ignoreCase)
    {
        if (position + 1 >= pattern.Length)
            return null;
        char kind = pattern[position + 1];
        if (kind is 's' or 'S' or 'd' or 'D')
        {
            position += 2;
            return "\\" + kind;
        }

        if (kind is not ('p' or 'P'))
            return null;
        int end = pattern.IndexOf('}', position);
        string name = end > position + 2 && pattern[position + 2] == '{' ? pattern[(position + 3)..end] : "";
        if (ignoreCase)
            throw Unsupported("a category in any case", position);
        if (!Categories.Contains(name))
            throw Unsupported($"'\\{kind}' of something other than a general category", position);
        position = end + 1;
        return $"\\{kind}{{{name}}}";
    }

    /// <summary>The character an escape stands for.</summary>
    public static char EscapedCharacter(string pattern, ref int position)
    {
        char? value = position + 1 >= pattern.Length ? null : pattern[position + 1] switch
        {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'f' => '\f',
            'v' => '\v',
            char other when char.IsAscii(other) && !char.IsAsciiLetterOrDigit(other) => other,
            _ => null,
        };
        if (value is null)
            throw Unsupported("this escape", position);
        position += 2;
        return value.Value;
    }

    /// <summary>Writes a character that stands for itself, in a class or outside.</summary>
    public static void Append(StringBuilder output, char value)
    {
        if (char.IsAsciiLetterOrDigit(value))
            output.Append(value);
        else
            output.Append(CultureInfo.InvariantCulture, $"\\u{(int)value:X4}");
    }

    /// <summary>
    /// An ASCII letter in both cases, with the other characters that Unicode folds to it: long s and the Kelvin sign.
    /// </summary>
    public static string Folds(char letter)
    {
        char lower = char.ToLowerInvariant(letter);
        return $"{lower}{char.ToUpperInvariant(letter)}" + (lower == 's' ? "\\u017F" : lower == 'k' ? "\\u212A" : "");
    }

    private void Item(ref int position)
    {
        if (EscapedSetAt(ref position) is { } set)
        {
            output.Append(set);
            if (Peek(position) == '-' && Peek(position + 1) != ']')
                throw Unsupported("'-' after a set", position);
            return;
        }

        char first = Character(ref position);
        char last = first;
        if (Peek(position) == '-' && Peek(position + 1) != ']')
        {
            position++;
            last = Character(ref position);
            if (last < first)
                throw Unsupported("a range that ends before it begins", position);
        }

        if (PieceSplitter.HasStandIn(first, last) || (last >= '\uD800' && first <= '\uDFFF'))
            throw Unsupported($"the range U+{(int)first:X4} to U+{(int)last:X4}", position);
        if (ignoreCase)
        {
            AppendFolded(first, last, position);
            return;
        }

        Append(output, first);
        if (last != first)
            Append(output.Append('-'), last);
    }

    private void AppendFolded(char first, char last, int position)
    {
        if (!char.IsAscii(last))
            throw Unsupported("characters other than ASCII in any case", position);
        for (char value = first; value <= last; value++)
        {
            if (char.IsAsciiLetter(value))
                output.Append(Folds(value));
            else
                Append(output, value);
        }
    }

    private string? EscapedSetAt(ref int position) =>
        Peek(position) == '\\' ? EscapedSet(pattern, ref position, ignoreCase) : null;

    private char Character(ref int position)
    {
        char value = Peek(position);
        if (value == '[' || (value == '&' && Peek(position + 1) == '&'))
            throw Unsupported("a class within a class", position);
        if (value == '\\')
            return EscapedCharacter(pattern, ref position);
        position++;
        return value;
    }

    private char Peek(int position) =>
        position < pattern.Length ? pattern[position] : throw Unsupported("'[' without ']'", position);

    private static FormatException Unsupported(string what, int position) => new($"{what} at character {position}");
}
