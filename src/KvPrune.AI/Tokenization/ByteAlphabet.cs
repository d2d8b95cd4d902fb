namespace KvPrune.AI.Tokenization;

/// <summary>
/// The printable stand-in characters GPT-2 gave the 256 bytes, in which byte-level vocabularies are written: bytes that
/// are printable in Latin-1 stand for themselves, the others follow from U+0100 on in byte order.
/// </summary>
internal static class ByteAlphabet
{
    private const int FirstStandIn = 0x100;

    private static readonly char[] CharOfByte = MakeCharOfByte();
    private static readonly Dictionary<char, byte> ByteOfChar =
        Enumerable.Range(0, 256).ToDictionary(value => CharOfByte[value], value => (byte)value);

    public static char ToChar(byte value) => CharOfByte[value];

    /// <summary>The bytes a vocabulary entry stands for; null when a character is outside the alphabet.</summary>
    public static byte[]? ToBytes(string token)
    {
        var bytes = new byte[token.Length];
        for (int i = 0; i < token.Length; i++)
        {
            if (!ByteOfChar.TryGetValue(token[i], out bytes[i]))
                return null;
        }

        return bytes;
    }

    private static char[] MakeCharOfByte()
    {
        var chars = new char[256];
        int next = FirstStandIn;
        for (int value = 0; value < 256; value++)
        {
            bool printable = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            chars[value] = printable ? (char)value : (char)next++;
        }

        return chars;
    }
}
