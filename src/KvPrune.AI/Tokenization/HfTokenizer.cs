using KvPrune.AI.Templates;

namespace KvPrune.AI.Tokenization;

/// <summary>A byte-level BPE tokenizer read from a tokenizer.json. Safe for concurrent use.</summary>
public sealed class HfTokenizer
{
    /// <summary>Reads a tokenizer.json.</summary>
    /// <exception cref="TokenizerFormatException">The file is missing, broken or of an unsupported kind.</exception>
    public static HfTokenizer Load(string tokenizerJsonPath) => throw new NotImplementedException();

    /// <summary>The highest token id plus one.</summary>
    public int VocabularySize => throw new NotImplementedException();

    /// <summary>Special tokens (control tokens) by their text.</summary>
    public IReadOnlyDictionary<string, int> SpecialTokens => throw new NotImplementedException();

    /// <summary>Encodes plain text: a special token typed in it stays ordinary text.</summary>
    public int[] Encode(string text) => throw new NotImplementedException();

    /// <summary>Encodes a prompt: special tokens are recognised only where the template itself wrote every character.</summary>
    public int[] Encode(RenderedPrompt prompt) => throw new NotImplementedException();

    /// <summary>Text of the tokens; bytes that are not valid UTF-8 become U+FFFD.</summary>
    /// <exception cref="ArgumentOutOfRangeException">An id that the vocabulary does not have.</exception>
    public string Decode(IEnumerable<int> ids, bool skipSpecialTokens = true) => throw new NotImplementedException();

    /// <summary>A decoder for tokens that arrive one by one.</summary>
    public StreamingDetokenizer CreateDetokenizer() => throw new NotImplementedException();
}
