using System.Text;

namespace KvPrune.AI.Tokenization;

/// <summary>The bytes every token id stands for.</summary>
internal sealed class TokenBytes
{
    private readonly Dictionary<int, byte[]> _bytes = [];
    private readonly HashSet<int> _special = [];

    public TokenBytes(IEnumerable<KeyValuePair<string, int>> vocabulary, IEnumerable<AddedToken> addedTokens)
    {
        foreach ((string token, int id) in vocabulary)
            _bytes[id] = ByteAlphabet.ToBytes(token)
                ?? throw new ArgumentException($"'{token}' is not byte-level.", nameof(vocabulary));

        foreach (AddedToken token in addedTokens)
        {
            _bytes[token.Id] = Encoding.UTF8.GetBytes(token.Content);
            if (token.IsSpecial)
                _special.Add(token.Id);
        }
    }

    public int HighestId => _bytes.Keys.Max();

    public bool Contains(int id) => _bytes.ContainsKey(id);

    public ReadOnlySpan<byte> Get(int id, bool skipSpecial)
    {
        if (!_bytes.TryGetValue(id, out byte[]? bytes))
            throw new ArgumentOutOfRangeException(nameof(id), id, "The vocabulary has no token with this id.");

        return skipSpecial && _special.Contains(id) ? [] : bytes;
    }
}
