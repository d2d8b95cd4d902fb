namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>Which of the rows that leave the window stay in the cache.</summary>
internal static class ReferenceEviction
{
    /// <param name="policy">The policy.</param>
    /// <param name="prompts">[layer][KV head], all with the same leaving rows.</param>
    /// <returns>[layer][KV head][leaving row]; ties keep the earlier row.</returns>
    public static bool[][][] Kept(PruningPolicy policy, ReferencePrompt[][] prompts)
    {
        var (first, count) = prompts[0][0].Leaving;
        if (policy.Eviction is not { } eviction || count == 0)
            return [.. prompts.Select(layer => layer.Select(_ => Enumerable.Repeat(true, count).ToArray()).ToArray())];
        var scores = prompts.Select(layer => layer.Select(head => ReferenceTokenScores.Of(head, policy)).ToArray()).ToArray();
        var sinks = Math.Clamp(eviction.SinkTokens - first, 0, count);
        var kept = ReferenceBudgets.Of(
            policy,
            [.. scores.Select(layer => layer.Select(head => head.Scores).ToArray())],
            prompts[0][0].Keys.Count - first,
            sinks);
        return
        [
            .. scores.Select((layer, l) => layer.Select((head, h) => Choose(head.Scores, head.Second, kept[l][h], sinks)).ToArray()),
        ];
    }

    // CriticalKV, arXiv 2502.03805: half by the first scores, the rest by the second among the others.
    private static bool[] Choose(double[] scores, double[]? second, int kept, int sinks)
    {
        var chosen = new bool[scores.Length];
        var stage = second is null ? kept : kept / 2;
        foreach (var token in ReferenceBudgets.Ranked(scores, sinks).Take(stage))
            chosen[token] = true;
        if (second is not null)
        {
            int[] others = [.. ReferenceBudgets.Ranked(second, sinks).Where(token => !chosen[token]).Take(kept - stage)];
            foreach (var token in others)
                chosen[token] = true;
        }

        return chosen;
    }
}
