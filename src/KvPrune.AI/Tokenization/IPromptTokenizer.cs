using KvPrune.AI.Templates;

namespace KvPrune.AI.Tokenization;

/// <summary>Turns prompts into token ids and token ids into text. Safe for concurrent use.</summary>
internal interface IPromptTokenizer
{
    /// <summary>The highest token id plus one.</summary>
    int VocabularySize { get; }

    /// <summary>Special tokens (control tokens) by their text.</summary>
    IReadOnlyDictionary<string, int> SpecialTokens { get; }

    /// <summary>Whether there is a token with this id.</summary>
    bool HasToken(int id);

    /// <summary>
    /// Encodes a prompt: special tokens are recognised only where they touch no untrusted span, which is where the template
    /// wrote every character if the spans are all of what it did not write.
    /// </summary>
    EncodedPrompt Encode(RenderedPrompt prompt);

    /// <summary>How many of a prompt's ids another prompt has that is a prefix of it; null if its ids are no prefix.</summary>
    /// <param name="whole">The encoded prompt.</param>
    /// <param name="prefix">A prompt whose text the whole one's begins with.</param>
    int? CountPrefix(EncodedPrompt whole, RenderedPrompt prefix);

    /// <summary>A decoder for tokens that arrive one by one.</summary>
    IStreamingDetokenizer CreateDetokenizer();
}
