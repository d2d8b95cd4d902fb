namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>ThinK, arXiv 2407.21018: the channels that a head's rows keep, ascending; ties keep the lower one.</summary>
internal static class ReferenceChannels
{
    /// <summary>Mean squared query times mean squared key, over the keys that will be pruned.</summary>
    public static int[] Keys(ReferencePrompt prompt, IReadOnlyList<int> pruned, double sparsity, int window)
    {
        if (sparsity == 0)
            return All(prompt.Shape.HeadSize);
        double[][] observed = [.. prompt.Observed(window).Select(query => query.Query)];
        return Best(prompt.Shape.HeadSize, sparsity, j =>
            observed.Average(query => query[j] * query[j]) * pruned.Average(t => prompt.Keys[t]![j] * prompt.Keys[t]![j]));
    }

    /// <summary>
    /// Appendix D: the norm over the observed queries of (softmax(QKᵀ/√D)·V)[:, j], mean over the group, summed over the values
    /// that will be pruned.
    /// </summary>
    public static int[] Values(ReferencePrompt prompt, IReadOnlyList<int> pruned, double sparsity, int window)
    {
        if (sparsity == 0)
            return All(prompt.Shape.HeadSize);
        var heads = prompt.Observed(window).GroupBy(query => query.Head, query => ReferenceAttention.Weights(
            prompt.Shape, query.Query, query.Position, prompt.Keys, prompt.Sinks[query.Head])).ToArray();
        return Best(prompt.Shape.HeadSize, sparsity, j => heads.Average(queries => Math.Sqrt(queries.Sum(weights =>
            Math.Pow(pruned.Sum(t => weights[t] * prompt.Values[t]![j]), 2)))));
    }

    private static int[] All(int headSize) => [.. Enumerable.Range(0, headSize)];

    private static int[] Best(int headSize, double sparsity, Func<int, double> score)
    {
        var kept = Math.Max(1, headSize - (int)Math.Floor((sparsity * headSize) + 1e-4));
        return [.. Enumerable.Range(0, headSize).OrderByDescending(score).ThenBy(j => j).Take(kept).Order()];
    }
}
