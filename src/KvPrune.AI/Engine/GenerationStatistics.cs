namespace KvPrune.AI.Engine;

/// <summary>What one answer took.</summary>
public sealed record GenerationStatistics
{
    /// <summary>Tokens of the prompt, cached ones included.</summary>
    public required int PromptTokens { get; init; }

    /// <summary>Prompt tokens whose KV cache came from an earlier prompt.</summary>
    public required int CachedTokens { get; init; }

    /// <summary>Tokens drawn, the one that ended the answer included.</summary>
    public required int GeneratedTokens { get; init; }

    /// <summary>Time spent waiting for memory or for the step in progress.</summary>
    public required TimeSpan Queued { get; init; }

    /// <summary>Time from admission to the first token, the reading of older prompts in between included.</summary>
    public required TimeSpan Prefill { get; init; }

    /// <summary>Time from the first token to the end.</summary>
    public required TimeSpan Decode { get; init; }

    /// <summary>Bytes of the sequence's KV cache at the end: tiles (shared ones included), dense tail, checkpoints.</summary>
    public required long KvBytes { get; init; }

    /// <summary>Bytes that the same tokens take unpruned in 16-bit.</summary>
    public required long KvBytesDense16 { get; init; }
}
