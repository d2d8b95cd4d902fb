using System.Globalization;
using System.Text;
using System.Text.Json;
using KvPrune.AI.Tests;

namespace KvPrune.AI.Tests.Tokenization;

/// <summary>
/// Byte-level BPE as plainly as it can be written, without regular expressions: an oracle for the tokenizer. Covers the split
/// of GPT-2 and, where asked, that of Llama 3.
/// </summary>
internal sealed class BytePairReference
{
    private readonly Dictionary<string, int> _vocabulary;
    private readonly Dictionary<(string, string), int> _ranks = [];
    private readonly int? _digitsPerPiece;

    public BytePairReference(JsonElement tokenizer, int? digitsPerPiece = null)
    {
        JsonElement model = tokenizer.GetProperty("model");
        _digitsPerPiece = digitsPerPiece;
        _vocabulary = model.GetProperty("vocab").EnumerateObject().ToDictionary(entry => entry.Name, entry => entry.Value.GetInt32());
        foreach (JsonElement merge in model.GetProperty("merges").EnumerateArray())
        {
            string[] parts = merge.ValueKind == JsonValueKind.String
                ? merge.GetString()!.Split(' ')
                : [.. merge.EnumerateArray().Select(part => part.GetString()!)];
            _ranks.Add((parts[0], parts[1]), _ranks.Count);
        }
    }

    public List<int> Encode(string text) => [.. Pieces(text).SelectMany(Merge)];

    /// <summary>What merges stay within.</summary>
    public IEnumerable<string> Pieces(string text)
    {
        Rune[] runes = [.. text.EnumerateRunes()];
        for (int start = 0; start < runes.Length;)
        {
            int length = _digitsPerPiece is int digits ? Llama3Piece(runes, start, digits) : Gpt2Piece(runes, start);
            yield return string.Concat(runes[start..(start + length)].Select(rune => rune.ToString()));
            start += length;
        }
    }

    private IEnumerable<int> Merge(string piece)
    {
        List<string> parts = [.. Encoding.UTF8.GetBytes(piece).Select(value => StandIn(value).ToString())];
        while (parts.Count > 1)
        {
            int best = Enumerable.Range(0, parts.Count - 1)
                .MinBy(i => _ranks.GetValueOrDefault((parts[i], parts[i + 1]), int.MaxValue));
            if (!_ranks.ContainsKey((parts[best], parts[best + 1])))
                break;
            parts[best] += parts[best + 1];
            parts.RemoveAt(best + 1);
        }

        return parts.Select(part => _vocabulary[part]);
    }

    private static char StandIn(byte value)
    {
        static bool IsPrintable(int value) => value is (> 32 and < 127) or (> 160 and not 173);
        return IsPrintable(value) ? (char)value : (char)(256 + Enumerable.Range(0, value).Count(earlier => !IsPrintable(earlier)));
    }

    // 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
    private static int Gpt2Piece(Rune[] text, int start)
    {
        foreach (string ending in (string[])["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"])
        {
            if (StartsWith(text, start, ending))
                return ending.Length;
        }

        int blank = text[start].Value == ' ' ? 1 : 0;
        foreach (Func<Rune, bool> kind in (Func<Rune, bool>[])[IsLetter, IsNumber, IsOther])
        {
            int run = Run(text, start + blank, kind);
            if (run > 0)
                return blank + run;
        }

        return WhiteSpacePiece(text, start);
    }

    // (?i:'s|…)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,n}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
    private static int Llama3Piece(Rune[] text, int start, int digits)
    {
        foreach (string ending in (string[])["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"])
        {
            if (StartsWith(text, start, ending, ignoreCase: true))
                return ending.Length;
        }

        Rune first = text[start];
        int skipped = !IsLetter(first) && !IsNumber(first) && first.Value is not ('\r' or '\n') ? 1 : 0;
        int letters = Run(text, start + skipped, IsLetter);
        if (letters > 0)
            return skipped + letters;
        int numbers = Run(text, start, IsNumber);
        if (numbers > 0)
            return Math.Min(numbers, digits);

        int blank = first.Value == ' ' ? 1 : 0;
        int others = Run(text, start + blank, IsOther);
        if (others > 0)
            return blank + others + Run(text, start + blank + others, IsNewline);
        int spaces = Run(text, start, Rune.IsWhiteSpace);
        int lastNewline = Array.FindLastIndex(text, start + spaces - 1, spaces, IsNewline);
        return lastNewline >= 0 ? lastNewline + 1 - start : WhiteSpacePiece(text, start);
    }

    // The last white space before other text goes with that text, unless it stands alone.
    private static int WhiteSpacePiece(Rune[] text, int start)
    {
        int spaces = Run(text, start, Rune.IsWhiteSpace);
        return start + spaces < text.Length && spaces > 1 ? spaces - 1 : spaces;
    }

    private static int Run(Rune[] text, int start, Func<Rune, bool> kind) => text.Skip(start).TakeWhile(kind).Count();

    private static bool StartsWith(Rune[] text, int start, string value, bool ignoreCase = false) =>
        text.Length - start >= value.Length && Enumerable.Range(0, value.Length).All(i =>
            text[start + i].Value == value[i]
            || (ignoreCase && text[start + i].IsAscii && char.ToLowerInvariant((char)text[start + i].Value) == value[i]));

    private static bool IsNewline(Rune rune) => rune.Value is '\r' or '\n';

    private static bool IsLetter(Rune rune) => Rune.GetUnicodeCategory(rune) <= UnicodeCategory.OtherLetter;

    private static bool IsNumber(Rune rune) =>
        Rune.GetUnicodeCategory(rune) is UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber;

    private static bool IsOther(Rune rune) => !IsLetter(rune) && !IsNumber(rune) && !Rune.IsWhiteSpace(rune);
}
