using System.Globalization;
using System.Text;

namespace KvPrune.AI.Templates.Jinja;

/// <summary>What Python's strings do otherwise than .NET's.</summary>
internal static class PythonText
{
    /// <summary>As <c>str.isspace</c> has it: the separators U+001C to U+001F count too.</summary>
    public static bool IsWhiteSpace(char value) => char.IsWhiteSpace(value) || value is >= '\u001C' and <= '\u001F';

    /// <summary>The text that printing a value gives; lists and mappings look as in Python.</summary>
    public static TaintedText ToText(object? value, RenderBudget budget) => value switch
    {
        TaintedText text => text,
        null => TaintedText.Trusted("None"),
        Undefined => TaintedText.Empty,
        bool flag => TaintedText.Trusted(flag ? "True" : "False"),
        long number => TaintedText.Trusted(number.ToString(CultureInfo.InvariantCulture)),
        double number => TaintedText.Trusted(PythonFloat.Write(number)),
        IReadOnlyList<object?> or IReadOnlyDictionary<string, object?> => PythonLiteral.Write(value, budget),
        _ => throw new TemplateFaultException($"{Values.Describe(value)} cannot be written as text."),
    };

    /// <summary>Order by code point, which UTF-16 code units do not give above U+FFFF.</summary>
    public static int Compare(string left, string right)
    {
        StringRuneEnumerator leftRunes = left.EnumerateRunes();
        StringRuneEnumerator rightRunes = right.EnumerateRunes();
        while (true)
        {
            bool hasLeft = leftRunes.MoveNext();
            bool hasRight = rightRunes.MoveNext();
            if (!hasLeft || !hasRight)
                return hasLeft.CompareTo(hasRight);
            int order = leftRunes.Current.CompareTo(rightRunes.Current);
            if (order != 0)
                return order;
        }
    }

    /// <summary>Where every code point starts, with the length of the text at the end.</summary>
    public static int[] CodePointStarts(string text)
    {
        var starts = new List<int>(text.Length + 1);
        for (int i = 0; i < text.Length; i++)
        {
            starts.Add(i);
            if (char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]))
                i++;
        }

        starts.Add(text.Length);
        return [.. starts];
    }

    /// <summary>The number of code points.</summary>
    public static int Length(string text)
    {
        int length = text.Length;
        for (int i = 1; i < text.Length; i++)
        {
            if (!char.IsSurrogatePair(text[i - 1], text[i]))
                continue;
            length--;
            i++;
        }

        return length;
    }

    /// <summary>Takes white space, or the given characters, off the ends.</summary>
    public static TaintedText Strip(TaintedText text, string? characters, bool left, bool right)
    {
        string value = text.Value;
        HashSet<Rune>? chosen = characters is null ? null : [.. characters.EnumerateRunes()];
        int start = 0;
        int end = value.Length;
        while (left && start < end && IsStripped(value.AsSpan(start, end - start), chosen, fromEnd: false, out int length))
            start += length;
        while (right && start < end && IsStripped(value.AsSpan(start, end - start), chosen, fromEnd: true, out int length))
            end -= length;
        return text.Substring(start, end - start);
    }

    private static bool IsStripped(ReadOnlySpan<char> text, HashSet<Rune>? chosen, bool fromEnd, out int length)
    {
        length = 1;
        if (chosen is null)
            return IsWhiteSpace(fromEnd ? text[^1] : text[0]);
        _ = fromEnd
            ? Rune.DecodeLastFromUtf16(text, out Rune rune, out length)
            : Rune.DecodeFromUtf16(text, out rune, out length);
        return chosen.Contains(rune);
    }
}
