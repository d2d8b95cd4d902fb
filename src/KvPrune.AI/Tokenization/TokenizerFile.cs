namespace KvPrune.AI.Tokenization;

/// <summary>What a tokenizer.json says, checked.</summary>
internal sealed record TokenizerFile
{
    public required List<AddedToken> AddedTokens { get; init; }

    public required Normalizer Normalizer { get; init; }

    public required PreTokenizer PreTokenizer { get; init; }

    public required BytePairModel Model { get; init; }

    public required PieceDecoder Decoder { get; init; }
}
