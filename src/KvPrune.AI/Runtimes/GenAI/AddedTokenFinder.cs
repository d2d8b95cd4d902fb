using System.Buffers;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>
/// Finds every place where the text of an added token stands, also inside another such place: whatever a tokenizer
/// would choose to match is among them.
/// </summary>
internal sealed class AddedTokenFinder
{
    private readonly TokenInventory.AddedToken[] _tokens;
    private readonly SearchValues<string> _texts;

    /// <param name="tokens">
    /// The added tokens. Those of white space only are left out unless they are special: they control nothing, and text
    /// would be full of them.
    /// </param>
    public AddedTokenFinder(IEnumerable<TokenInventory.AddedToken> tokens)
    {
        _tokens = [.. tokens.Where(token => token.IsSpecial || !string.IsNullOrWhiteSpace(token.Text))];
        _texts = SearchValues.Create([.. _tokens.Select(token => token.Text)], StringComparison.Ordinal);
        MaxLength = _tokens.Select(token => token.Text.Length).DefaultIfEmpty().Max();
    }

    /// <summary>Characters of the longest token.</summary>
    public int MaxLength { get; }

    /// <summary>Places between two positions of a text, by their start.</summary>
    public IEnumerable<(TokenInventory.AddedToken Token, int Start)> Find(string text, int from, int to)
    {
        for (int start = Next(text, from, to); start >= 0; start = Next(text, start + 1, to))
        {
            foreach (TokenInventory.AddedToken token in _tokens)
            {
                if (token.Text.Length <= to - start && string.CompareOrdinal(text, start, token.Text, 0, token.Text.Length) == 0)
                    yield return (token, start);
            }
        }
    }

    /// <summary>Whether a text begins with a part of a token that what stands before it could complete.</summary>
    public bool BeginsWithPart(ReadOnlySpan<char> text)
    {
        foreach (TokenInventory.AddedToken token in _tokens)
        {
            for (int start = 1; start < token.Text.Length; start++)
            {
                if (SharesBeginning(text, token.Text.AsSpan(start))) return true;
            }
        }
        return false;
    }

    /// <summary>Whether a text ends with a part of a token that what stands after it could complete.</summary>
    public bool EndsWithPart(ReadOnlySpan<char> text)
    {
        foreach (TokenInventory.AddedToken token in _tokens)
        {
            for (int end = 1; end < token.Text.Length; end++)
            {
                if (text.EndsWith(token.Text.AsSpan(0, end), StringComparison.Ordinal)) return true;
            }
        }
        return false;
    }

    /// <summary>Either one goes on where the other ends: a text may be the middle of a token.</summary>
    private static bool SharesBeginning(ReadOnlySpan<char> text, ReadOnlySpan<char> token) =>
        text.Length < token.Length ? token.StartsWith(text, StringComparison.Ordinal) : text.StartsWith(token, StringComparison.Ordinal);

    private int Next(string text, int from, int to)
    {
        int offset = from >= to ? -1 : text.AsSpan(from, to - from).IndexOfAny(_texts);
        return offset < 0 ? -1 : from + offset;
    }
}
