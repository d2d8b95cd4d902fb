namespace KvPrune.AI.Tokenization;

/// <summary>The bytes every token id stands for.</summary>
internal sealed class TokenBytes
{
    private readonly Dictionary<int, byte[]> _bytes = [];
    private readonly HashSet<int> _special = [];

    public TokenBytes(TokenizerFile file)
    {
        foreach ((string token, int id) in file.Model.Vocabulary)
            _bytes[id] = file.Decoder.ToBytes(token, isAdded: false);
        foreach (AddedToken token in file.AddedTokens)
        {
            // One that is looked for in normalised text stands for all that it takes there, such as the space before it.
            string content = token.InNormalised ? file.Normalizer.Apply(token.Content) : token.Content;
            _bytes[token.Id] = file.Decoder.ToBytes(content, isAdded: true);
            if (token.IsSpecial)
                _special.Add(token.Id);
        }

        LeadingSpaces = file.Decoder.LeadingSpaces;
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
