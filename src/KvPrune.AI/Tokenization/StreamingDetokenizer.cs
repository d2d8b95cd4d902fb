namespace KvPrune.AI.Tokenization;

/// <summary>Decodes tokens as they are generated. Not safe for concurrent use; special tokens give no text.</summary>
public sealed class StreamingDetokenizer
{
    internal StreamingDetokenizer()
    {
    }

    /// <summary>Adds a token and returns the text that is now complete; an unfinished character is held back.</summary>
    public string Append(int id) => throw new NotImplementedException();

    /// <summary>Ends the text: U+FFFD for an unfinished character, else nothing.</summary>
    public string Flush() => throw new NotImplementedException();
}
