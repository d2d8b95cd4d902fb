namespace KvPrune.AI.Engine;

/// <summary>How much of a prompt has been read.</summary>
/// <param name="ReadTokens">Tokens in the KV cache, cached ones included.</param>
/// <param name="TotalTokens">Tokens of the prompt.</param>
public readonly record struct PrefillProgress(int ReadTokens, int TotalTokens);
