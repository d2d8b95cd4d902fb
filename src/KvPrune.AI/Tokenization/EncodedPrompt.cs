namespace KvPrune.AI.Tokenization;

/// <summary>A prompt's token ids, and where in its text the added tokens stand.</summary>
/// <param name="Tokens">Token ids.</param>
/// <param name="Marks">The added tokens, in order, each with the number of ids up to and including it.</param>
internal sealed record EncodedPrompt(int[] Tokens, IReadOnlyList<EncodedPrompt.Mark> Marks)
{
    internal readonly record struct Mark(AddedTokenScanner.Occurrence Occurrence, int TokensUpToHere);
}
