using System.Text.RegularExpressions;

namespace KvPrune.AI.Tokenization;

/// <summary>What a tokenizer.json says, checked.</summary>
internal sealed record TokenizerFile
{
    /// <summary>Ids of the tokens BPE makes, in <see cref="ByteAlphabet"/>; no added token is among them.</summary>
    public required Dictionary<string, int> Vocabulary { get; init; }

    /// <summary>"left right", the earliest merge first.</summary>
    public required List<string> Merges { get; init; }

    public required List<AddedToken> AddedTokens { get; init; }

    public required Regex SplitPattern { get; init; }

    /// <summary>The flag "ignore_merges": a piece that is a token as a whole is not put together by merges.</summary>
    public required bool WholePiecesFirst { get; init; }
}
