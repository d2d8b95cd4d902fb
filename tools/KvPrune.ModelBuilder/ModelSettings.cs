namespace KvPrune.ModelBuilder;

/// <summary>What genai_config.json says of a model beyond its sizes.</summary>
internal sealed record ModelSettings(SpecialTokens Tokens, SearchSettings Search);
