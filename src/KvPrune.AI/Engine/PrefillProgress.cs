namespace KvPrune.AI.Engine;

/// <summary>How much of a prompt has been read. A document that the model repeats to compress it (KVzip) counts twice.</summary>
/// <param name="ReadTokens">Tokens in the KV cache, cached ones included, and those repeated.</param>
/// <param name="TotalTokens">Tokens of the prompt, and those to repeat.</param>
public readonly record struct PrefillProgress(int ReadTokens, int TotalTokens);
