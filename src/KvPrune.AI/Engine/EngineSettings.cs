namespace KvPrune.AI.Engine;

/// <summary>What the scheduler has to know besides the runtime.</summary>
internal sealed record EngineSettings
{
    /// <summary>Tokens that prompt and answer may have together.</summary>
    public required int ContextLength { get; init; }

    /// <summary>Drawing one of these ends an answer.</summary>
    public required IReadOnlySet<int> EndTokens { get; init; }

    /// <summary>Ids that are never drawn: a padded vocabulary has more logits than the tokenizer has tokens.</summary>
    public IReadOnlyList<int> MaskedTokens { get; init; } = [];

    /// <summary>The most prompt tokens in one run.</summary>
    public int PrefillChunkTokens { get; init; } = 512;

    /// <summary>Tokens that ask the model to repeat the text before them.</summary>
    public int[] RepeatInstruction { get; init; } = [];

    /// <summary>The most bytes of KV cache, cached prompts included; null: no limit.</summary>
    public long? KvCacheByteLimit { get; init; }

    /// <summary>Prompts whose KV cache is kept for later requests.</summary>
    public int MaxCachedPrompts { get; init; }
}
