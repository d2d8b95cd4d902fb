using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace KvPrune.AI.Tokenization;

/// <summary>Cuts text into the pieces BPE merges within.</summary>
/// <remarks>
/// .NET matches UTF-16 code units, so a letter outside the basic plane would not be a letter to it. Such text is
/// matched through a shadow in which one character of the same general category stands for each surrogate pair.
/// </remarks>
internal static class PieceSplitter
{
    // One rare character of each category that has members outside the basic plane.
    private static readonly Dictionary<UnicodeCategory, char> StandIns =
        ("\uA722\uA723\u1F88\uA788\uA9E0\uA66F\uA823\uA670\uA8D0\uA6E6\uA830\uFE4D\uFE58\uFE59\uFE5A\u2E02\u2E03\uA673\uFE62"
            + "\uA838\uA700\uA828\uFFF9\uF8F0\uFDD0")
            .ToDictionary(char.GetUnicodeCategory);

    /// <summary>Whether a character may stand for others, so that no pattern may tell it from them.</summary>
    public static bool IsStandIn(char character) => StandIns.ContainsValue(character);

    /// <summary>Whether a range of characters has one that may stand for others.</summary>
    public static bool HasStandIn(char first, char last) => StandIns.Values.Any(value => value >= first && value <= last);

    /// <summary>Start and length of every piece, in order.</summary>
    /// <param name="text">Well-formed UTF-16.</param>
    /// <param name="steps">Applied one after the other, each to the pieces of the one before.</param>
    /// <exception cref="TokenizerFormatException">A pattern takes too long on this text; names its entry.</exception>
    public static List<(int Start, int Length)> Split(ReadOnlySpan<char> text, IReadOnlyList<SplitStep> steps)
    {
        List<(int Start, int Length)> pieces = [(0, text.Length)];
        if (steps.Count == 0)
            return pieces;
        if (text.IndexOfAnyInRange('\uD800', '\uDFFF') < 0)
            return SplitShadow(text, steps, pieces);

        var shadow = new char[text.Length];
        var starts = new int[text.Length + 1];
        int length = 0;
        int position = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            starts[length] = position;
            shadow[length++] = rune.IsBmp ? (char)rune.Value : StandIns[Rune.GetUnicodeCategory(rune)];
            position += rune.Utf16SequenceLength;
        }

        starts[length] = position;
        return SplitShadow(shadow.AsSpan(0, length), steps, [(0, length)])
            .ConvertAll(piece => (starts[piece.Start], starts[piece.Start + piece.Length] - starts[piece.Start]));
    }

    private static List<(int Start, int Length)> SplitShadow(
        ReadOnlySpan<char> text, IReadOnlyList<SplitStep> steps, List<(int Start, int Length)> pieces)
    {
        foreach (SplitStep step in steps)
        {
            var cut = new List<(int Start, int Length)>();
            try
            {
                foreach ((int start, int length) in pieces)
                    new Cutter(step, cut).Cut(text.Slice(start, length), start);
            }
            catch (RegexMatchTimeoutException exception)
            {
                throw new TokenizerFormatException(
                    step.File, step.Entry, $"a match of this pattern takes more than {exception.MatchTimeout}.", exception);
            }

            pieces = cut;
        }

        return pieces;
    }

    /// <summary>Cuts one piece by one step.</summary>
    private readonly ref struct Cutter(SplitStep step, List<(int Start, int Length)> pieces)
    {
        public void Cut(ReadOnlySpan<char> text, int offset)
        {
            int first = pieces.Count;
            bool afterDelimiter = false;
            int end = 0;
            foreach (ValueMatch match in step.Pattern.EnumerateMatches(text))
            {
                if (match.Index > end)
                    Add(offset + end, match.Index - end, step.IsInverted, first, ref afterDelimiter);
                Add(offset + match.Index, match.Length, !step.IsInverted, first, ref afterDelimiter);
                end = match.Index + match.Length;
            }

            if (end < text.Length)
                Add(offset + end, text.Length - end, step.IsInverted, first, ref afterDelimiter);
        }

        // A delimiter goes with one neighbour, and only if that is no delimiter.
        private void Add(int start, int length, bool isDelimiter, int first, ref bool afterDelimiter)
        {
            bool joins = step.Behavior switch
            {
                SplitBehavior.MergedWithPrevious => isDelimiter && !afterDelimiter && pieces.Count > first,
                SplitBehavior.MergedWithNext => !isDelimiter && afterDelimiter,
                _ => false,
            };
            if (joins)
                pieces[^1] = (pieces[^1].Start, pieces[^1].Length + length);
            else if (!isDelimiter || step.Behavior != SplitBehavior.Removed)
                pieces.Add((start, length));
            afterDelimiter = isDelimiter;
        }
    }
}
