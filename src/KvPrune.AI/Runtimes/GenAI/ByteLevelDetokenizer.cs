using System.Text;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>
/// Decodes tokens that stand for bytes. GenAI's own decoder loses bytes that are no UTF-8, and up to three good
/// characters after them, where Hugging Face's shows U+FFFD.
/// </summary>
/// <param name="bytes">What each id stands for.</param>
internal sealed class ByteLevelDetokenizer(IReadOnlyDictionary<int, byte[]> bytes) : IStreamingDetokenizer
{
    private readonly Decoder _decoder = Encoding.UTF8.GetDecoder();

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">There is no token with this id.</exception>
    public string Append(int id) => bytes.TryGetValue(id, out byte[]? token)
        ? Convert(token, flush: false)
        : throw new ArgumentOutOfRangeException(nameof(id), id, "The vocabulary has no token with this id.");

    public string Interrupt() => Flush();

    public string Flush() => Convert([], flush: true);

    private string Convert(byte[] token, bool flush)
    {
        var chars = new char[_decoder.GetCharCount(token, flush)];
        _decoder.GetChars(token, chars, flush);
        return new string(chars);
    }
}
