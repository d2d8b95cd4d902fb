using System.Buffers;

namespace KvPrune.AI.Tokenization;

/// <summary>
/// Finds added tokens in text: the leftmost occurrence first, the longest of those that start at one place.
/// </summary>
internal sealed class AddedTokenScanner
{
    private readonly AddedToken[] _longestFirst;
    private readonly SearchValues<string> _contents;

    public AddedTokenScanner(IEnumerable<AddedToken> tokens)
    {
        _longestFirst = [.. tokens.OrderByDescending(token => token.Content.Length)];
        _contents = SearchValues.Create([.. _longestFirst.Select(token => token.Content)], StringComparison.Ordinal);
    }

    /// <summary>An occurrence, with the white space that its flags make part of it.</summary>
    public readonly record struct Occurrence(AddedToken Token, int Start, int End);

    /// <summary>Occurrences that lie wholly outside the untrusted spans, in order and without overlap.</summary>
    /// <param name="text">The whole text.</param>
    /// <param name="untrusted">Start and end of spans, sorted, none touching another.</param>
    public List<Occurrence> Find(string text, IReadOnlyList<(int Start, int End)> untrusted)
    {
        var found = new List<Occurrence>();
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

            AddedToken token = LongestAt(rest[offset..]);
            int start = from + offset;
            int end = start + token.Content.Length;
            found.Add(WithWhiteSpace(text, token, start, end, EndOfLast(found)));
            from = EndOfLast(found);
        }
    }

    private static int EndOfLast(List<Occurrence> found) => found.Count > 0 ? found[^1].End : 0;

    private AddedToken LongestAt(ReadOnlySpan<char> text)
    {
        foreach (AddedToken token in _longestFirst)
        {
            if (text.StartsWith(token.Content, StringComparison.Ordinal))
                return token;
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
