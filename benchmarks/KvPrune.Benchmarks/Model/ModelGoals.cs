namespace KvPrune.Benchmarks.Model;

/// <summary>What whole models are meant to reach.</summary>
internal static class ModelGoals
{
    /// <summary>The longest step over the median one.</summary>
    public const double MaxVsMedian = 1.5;

    /// <summary>Decoding over the stock model, Llama 3.2 1B with 4-bit weights; null for other models, contexts and contestants.</summary>
    public static double? Reach(string model, int context, IModelContestant contestant) =>
        contestant is PrunedModel && model.StartsWith(RandomModelFolder.Name("llama-1b", "int4"), StringComparison.Ordinal)
            ? context switch { 8_192 => 2, 32_768 => 5, _ => null }
            : null;
}
