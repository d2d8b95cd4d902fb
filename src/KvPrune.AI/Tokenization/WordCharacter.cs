using System.Buffers;
using System.Globalization;
using System.Text;

namespace KvPrune.AI.Tokenization;

/// <summary>
/// Word characters as Unicode's regular expressions define them (UTS 18, annex C): alphabetic characters, marks, decimal
/// digits, connecting punctuation and the two joiners.
/// </summary>
internal static class WordCharacter
{
    public static bool Begins(ReadOnlySpan<char> text) =>
        Rune.DecodeFromUtf16(text, out Rune rune, out _) == OperationStatus.Done && IsWord(rune);

    public static bool Ends(ReadOnlySpan<char> text) =>
        Rune.DecodeLastFromUtf16(text, out Rune rune, out _) == OperationStatus.Done && IsWord(rune);

    private static bool IsWord(Rune rune) => Rune.GetUnicodeCategory(rune) switch
    {
        <= UnicodeCategory.LetterNumber or UnicodeCategory.ConnectorPunctuation => true,
        // Circled and squared Latin letters are alphabetic symbols.
        UnicodeCategory.OtherSymbol => rune.Value
            is (>= 0x24B6 and <= 0x24E9) or (>= 0x1F130 and <= 0x1F149) or (>= 0x1F150 and <= 0x1F169) or (>= 0x1F170 and <= 0x1F189),
        _ => rune.Value is 0x200C or 0x200D,
    };
}
