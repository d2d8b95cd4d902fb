using System.Buffers;

namespace KvPrune.AI.Tokenization;

/// <summary>
/// Finds added tokens in text: the leftmost occurrence first, the longest of those that start at one place.
/// </summary>
internal sealed class AddedTokenScanner
{
    private readonly Dictionary<string, AddedToken>.AlternateLookup<ReadOnlySpan<char>> _tokens;
    private readonly int[] _longestFirst;
    private readonly SearchValues<string> _contents;

    /// <param name="tokens">Each with the text to look for. Of two with one text the first is found.</param>
    public AddedTokenScanner(IEnumerable<(string Text, AddedToken Token)> tokens)
    {
        var tokenOf = new Dictionary<string, AddedToken>();
        foreach ((string text, AddedToken token) in tokens)
            tokenOf.TryAdd(text, token);
        _tokens = tokenOf.GetAlternateLookup<ReadOnlySpan<char>>();
        _longestFirst = [.. tokenOf.Keys.Select(text => text.Length).Distinct().OrderDescending()];
        _contents = SearchValues.Create([.. tokenOf.Keys], StringComparison.Ordinal);
    }

    /// <summary>Whether there is nothing to look for.</summary>
    public bool IsEmpty => _longestFirst.Length == 0;

    /// <summary>An occurrence, with the white space that its flags make part of it.</summary>
    public readonly record struct Occurrence(AddedToken Token, int Start, int End);

    /// <summary>Occurrences that lie wholly outside the untrusted spans, in order and without overlap.</summary>
    /// <param name="text">The whole text.</param>
    /// <param name="untrusted">Start and end of spans, sorted, none touching another.</param>
    public List<Occurrence> Find(string text, IEnumerable<(int Start, int End)> untrusted)
    {
        var found = new List<Occurrence>();
        if (IsEmpty)
            return found;
        int from = 0;
        foreach ((int start, int end) in untrusted)
        {
            FindWithin(text, from, start, found);
            from = Math.Max(end, EndOfLast(found));
        }

        FindWithin(text, from, text.Length, found);
        return found;
    }

    private void FindWithin(string text, int from, int to, List<Occurrence> found)
    {
        while (from < to)
        {
            ReadOnlySpan<char> rest = text.AsSpan(from, to - from);
            int offset = rest.IndexOfAny(_contents);
            if (offset < 0)
                return;

            int start = from + offset;
            (AddedToken token, int length) = LongestAt(rest[offset..]);
            int end = start + length;
            from = end;
            if (token.StandsAlone && (WordCharacter.Ends(text.AsSpan(0, start)) || WordCharacter.Begins(text.AsSpan(end))))
                continue;
            found.Add(WithWhiteSpace(text, token, start, end, EndOfLast(found)));
            from = EndOfLast(found);
        }
    }

    private static int EndOfLast(List<Occurrence> found) => found.Count > 0 ? found[^1].End : 0;

    private (AddedToken Token, int Length) LongestAt(ReadOnlySpan<char> text)
    {
        foreach (int length in _longestFirst)
        {
            if (length <= text.Length && _tokens.TryGetValue(text[..length], out AddedToken? token))
                return (token, length);
        }

        throw new InvalidOperationException("No added token starts where one was found.");
    }

    // White space that the token before took stays with it.
    private static Occurrence WithWhiteSpace(string text, AddedToken token, int start, int end, int previousEnd)
    {
        if (token.TakesSpaceBefore)
        {
            while (start > previousEnd && char.IsWhiteSpace(text[start - 1]))
                start--;
        }

        if (token.TakesSpaceAfter)
        {
            while (end < text.Length && char.IsWhiteSpace(text[end]))
                end++;
        }

        return new Occurrence(token, start, end);
    }
}
