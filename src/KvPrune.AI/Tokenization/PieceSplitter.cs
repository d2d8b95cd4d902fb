using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace KvPrune.AI.Tokenization;

/// <summary>Cuts text into the pieces BPE merges within.</summary>
/// <remarks>
/// .NET matches UTF-16 code units, so a letter outside the basic plane would not be a letter to it. Such text is
/// matched through a shadow in which one character of the same class stands for each surrogate pair.
/// </remarks>
internal static class PieceSplitter
{
    /// <param name="text">Well-formed UTF-16.</param>
    /// <param name="pattern">A pattern whose matches cover every character.</param>
    /// <param name="pieces">Receives start and length of every piece, in order.</param>
    public static void Split(ReadOnlySpan<char> text, Regex pattern, List<(int Start, int Length)> pieces)
    {
        if (text.IndexOfAnyInRange('\uD800', '\uDFFF') < 0)
        {
            foreach (ValueMatch match in pattern.EnumerateMatches(text))
                pieces.Add((match.Index, match.Length));
            return;
        }

        var shadow = new char[text.Length];
        var starts = new int[text.Length + 1];
        int length = 0;
        int position = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            starts[length] = position;
            shadow[length++] = rune.IsBmp ? (char)rune.Value : StandIn(rune);
            position += rune.Utf16SequenceLength;
        }

        starts[length] = position;
        foreach (ValueMatch match in pattern.EnumerateMatches(shadow.AsSpan(0, length)))
        {
            int start = starts[match.Index];
            pieces.Add((start, starts[match.Index + match.Length] - start));
        }
    }

    // Any member of the class will do, as long as no pattern names it.
    private static char StandIn(Rune rune) => Rune.GetUnicodeCategory(rune) switch
    {
        UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
            or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter => '\u4E00',
        UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber => '\u0660',
        _ => '\u203B',
    };
}
