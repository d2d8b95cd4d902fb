using System.Text;

namespace KvPrune.AI.Tokenization;

/// <summary>Decodes tokens as they are generated. Not safe for concurrent use; special tokens give no text.</summary>
public sealed class StreamingDetokenizer : IStreamingDetokenizer
{
    private readonly TokenBytes _tokens;
    private readonly Decoder _decoder = Encoding.UTF8.GetDecoder();
    private int _leadingSpaces;

    internal StreamingDetokenizer(TokenBytes tokens)
    {
        _tokens = tokens;
        _leadingSpaces = tokens.LeadingSpaces;
    }

    /// <summary>
    /// Adds a token and returns the text that is now complete; an unfinished character is held back. The space that
    /// SentencePiece puts before a text is left out.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">An id that the vocabulary does not have.</exception>
    public string Append(int id) =>
        Convert(TokenBytes.WithoutSpaces(_tokens.Get(id, skipSpecial: true), ref _leadingSpaces), flush: false);

    /// <summary>
    /// Ends the text: U+FFFD for an unfinished character, else nothing. The next token starts a new text.
    /// </summary>
    public string Flush()
    {
        _leadingSpaces = _tokens.LeadingSpaces;
        return Convert([], flush: true);
    }

    string IStreamingDetokenizer.Interrupt()
    {
        _leadingSpaces = 0; // the text has begun: what stands here is part of it
        return Convert([], flush: true);
    }

    private string Convert(ReadOnlySpan<byte> bytes, bool flush)
    {
        int count = _decoder.GetCharCount(bytes, flush);
        if (count == 0)
        {
            _decoder.GetChars(bytes, [], flush);
            return "";
        }

        var chars = new char[count];
        _decoder.GetChars(bytes, chars, flush);
        return new string(chars);
    }
}
