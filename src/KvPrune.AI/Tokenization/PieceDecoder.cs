using System.Globalization;
using System.Text;

namespace KvPrune.AI.Tokenization;

/// <summary>The entry "decoder" of a tokenizer.json: the bytes that a token stands for.</summary>
internal sealed record PieceDecoder
{
    /// <summary>Whether tokens are written in <see cref="ByteAlphabet"/>.</summary>
    public required bool IsByteLevel { get; init; }

    /// <summary>Strings in tokens that stand for others, such as the mark for a space.</summary>
    public IReadOnlyList<(string Old, string New)> Replacements { get; init; } = [];

    /// <summary>Whether the tokens &lt;0x00&gt; to &lt;0xFF&gt; stand for bytes.</summary>
    public bool HasByteTokens { get; init; }

    /// <summary>How many spaces a text loses where it begins.</summary>
    public int LeadingSpaces { get; init; }

    /// <summary>Bytes of a token, an added one or another.</summary>
    public byte[] ToBytes(string token, bool isAdded)
    {
        if (IsByteLevel && !isAdded)
            return ByteAlphabet.ToBytes(token) ?? throw new ArgumentException($"'{token}' is not byte-level.", nameof(token));
        foreach ((string old, string @new) in Replacements)
            token = token.Replace(old, @new, StringComparison.Ordinal);
        return HasByteTokens && ByteOf(token) is { } value ? [value] : Encoding.UTF8.GetBytes(token);
    }

    /// <summary>The name of the token for a byte.</summary>
    public static string NameOf(byte value) => string.Create(CultureInfo.InvariantCulture, $"<0x{value:X2}>");

    private static byte? ByteOf(string token) =>
        token is ['<', '0', 'x', _, _, '>']
        && byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value)
            ? value
            : null;
}
