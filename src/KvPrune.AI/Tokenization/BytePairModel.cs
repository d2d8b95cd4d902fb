namespace KvPrune.AI.Tokenization;

/// <summary>The entry "model" of a tokenizer.json: byte-pair encoding.</summary>
internal sealed record BytePairModel
{
    /// <summary>
    /// Whether tokens are bytes, written in <see cref="ByteAlphabet"/>; else they are text, as SentencePiece has it.
    /// </summary>
    public required bool IsByteLevel { get; init; }

    /// <summary>Ids of the tokens that merges make; no special token is among them.</summary>
    public required Dictionary<string, int> Vocabulary { get; init; }

    /// <summary>The earliest merge first.</summary>
    public required List<(string Left, string Right)> Merges { get; init; }

    /// <summary>The flag "ignore_merges": a piece that is a token as a whole is not put together by merges.</summary>
    public required bool WholePiecesFirst { get; init; }

    /// <summary>
    /// The flag "byte_fallback": ids of the tokens &lt;0x00&gt; to &lt;0xFF&gt;, which spell characters that have no token,
    /// null for a byte without one; null if the model has none at all.
    /// </summary>
    public required int?[]? IdOfByte { get; init; }

    /// <summary>Id of the token for a character that has none; null if every character can be spelt.</summary>
    public required int? UnknownId { get; init; }

    /// <summary>The flag "fuse_unk": neighbouring unknown characters are one token.</summary>
    public required bool FusesUnknown { get; init; }
}
