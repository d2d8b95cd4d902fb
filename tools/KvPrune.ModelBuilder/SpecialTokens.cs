namespace KvPrune.ModelBuilder;

/// <summary>The token ids that genai_config.json names.</summary>
internal sealed record SpecialTokens(int Bos, IReadOnlyList<int> Eos, int Pad);
