namespace KvPrune.OnnxOps;

/// <summary>
/// What one KV head keeps of the prompt that was compressed last, and of tokens whose rows share tiles with its rows since
/// <see cref="TokenEviction.WhileDecoding"/> moved them; all 0 before the first.
/// </summary>
/// <param name="Tokens">Tokens that were compressed: those that left the dense window.</param>
/// <param name="KeptTokens">Of these, not evicted.</param>
/// <param name="Bytes">Bytes of the head's tiles, lists of channels and of tokens.</param>
/// <param name="KeyStorage">How K is stored, which with an error budget may be finer than the policy's storage.</param>
/// <param name="ValueStorage">How V is stored.</param>
/// <param name="KeyChannels">K channels kept.</param>
/// <param name="ValueChannels">V channels kept.</param>
/// <param name="KeyElements">Elements of K kept in the rows of 64 tokens.</param>
/// <param name="ValueElements">Elements of V kept in the rows of 64 tokens.</param>
/// <param name="OutputError">
/// With <see cref="PruningPolicy.OutputError"/> the relative error of attention outputs that was measured, else NaN. Above the
/// budget where no setting stays within it.
/// </param>
public readonly record struct KvHeadInfo(
    long Tokens,
    long KeptTokens,
    long Bytes,
    KvStorage KeyStorage,
    KvStorage ValueStorage,
    int KeyChannels,
    int ValueChannels,
    int KeyElements,
    int ValueElements,
    float OutputError);
