namespace KvPrune.AI.Tokenization;

/// <summary>The bytes every token id stands for.</summary>
internal sealed class TokenBytes
{
    private readonly Dictionary<int, byte[]> _bytes = [];
    private readonly HashSet<int> _special = [];

    public TokenBytes(TokenizerFile file)
        : this(
            file.Model.Vocabulary.Select(token => (token.Value, token.Key)),
            // One that is looked for in normalised text stands for all that it takes there, such as the space before it.
            file.AddedTokens.Select(token => (token.Id, token.InNormalised ? file.Normalizer.Apply(token.Content) : token.Content, token.IsSpecial)),
            file.Decoder)
    {
    }

    /// <param name="vocabulary">The model's tokens.</param>
    /// <param name="added">Added tokens, which come before others with their ids.</param>
    /// <param name="decoder">What tokens stand for.</param>
    /// <exception cref="ArgumentException">A token is not written as the decoder reads it.</exception>
    public TokenBytes(IEnumerable<(int Id, string Text)> vocabulary, IEnumerable<(int Id, string Text, bool IsSpecial)> added, PieceDecoder decoder)
    {
        foreach ((int id, string text) in vocabulary)
            _bytes[id] = decoder.ToBytes(text, isAdded: false);
        foreach ((int id, string text, bool isSpecial) in added)
        {
            _bytes[id] = decoder.ToBytes(text, isAdded: true);
            if (isSpecial)
                _special.Add(id);
        }

        LeadingSpaces = decoder.LeadingSpaces;
        HighestId = _bytes.Keys.Max();
    }

    public int HighestId { get; }

    /// <summary>How many spaces a text loses where it begins.</summary>
    public int LeadingSpaces { get; }

    public bool Contains(int id) => _bytes.ContainsKey(id);

    public ReadOnlySpan<byte> Get(int id, bool skipSpecial)
    {
        if (!_bytes.TryGetValue(id, out byte[]? bytes))
            throw new ArgumentOutOfRangeException(nameof(id), id, "The vocabulary has no token with this id.");

        return skipSpecial && _special.Contains(id) ? [] : bytes;
    }

    /// <summary>What is left of the first bytes of a text, or of bytes that follow spaces taken from it.</summary>
    /// <param name="bytes">May be empty.</param>
    /// <param name="spaces">How many spaces there are still to take; none once anything else has come.</param>
    public static ReadOnlySpan<byte> WithoutSpaces(ReadOnlySpan<byte> bytes, ref int spaces)
    {
        while (spaces > 0 && bytes is [(byte)' ', ..])
        {
            bytes = bytes[1..];
            spaces--;
        }

        if (!bytes.IsEmpty)
            spaces = 0;
        return bytes;
    }
}
