namespace KvPrune.AI.Tokenization;

/// <summary>
/// An entry of "added_tokens": a token matched in the text as a whole, before any splitting or merging.
/// </summary>
/// <param name="Content">Its text.</param>
/// <param name="Id">Its id.</param>
/// <param name="TakesSpaceBefore">The flag "lstrip": white space to the left belongs to the token.</param>
/// <param name="TakesSpaceAfter">The flag "rstrip": white space to the right belongs to the token.</param>
/// <param name="StandsAlone">The flag "single_word": no letter, digit or mark may touch it.</param>
/// <param name="InNormalised">
/// The flag "normalized": it is normalised like text, and looked for in normalised text, after the other tokens.
/// </param>
/// <param name="IsSpecial">The flag "special": decoding leaves it out.</param>
internal sealed record AddedToken(
    string Content,
    int Id,
    bool TakesSpaceBefore,
    bool TakesSpaceAfter,
    bool StandsAlone,
    bool InNormalised,
    bool IsSpecial);
