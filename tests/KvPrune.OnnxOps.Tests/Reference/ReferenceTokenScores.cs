namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>Scores of the rows that leave the window, by the formulas of the papers.</summary>
internal static class ReferenceTokenScores
{
    /// <summary>What ranks first, and what the second stage ranks by, where there is one.</summary>
    public static (double[] Scores, double[]? Second) Of(ReferencePrompt prompt, PruningPolicy policy)
    {
        var eviction = policy.Eviction!;
        var scores = eviction.Score switch
        {
            TokenScore.Recency => [.. prompt.LeavingRows.Select(t => (double)t)],
            TokenScore.WindowAttention => WindowAttention(prompt, policy.ObservationWindow, eviction.PoolKernel),
            TokenScore.AccumulatedAttention => AccumulatedAttention(prompt),
            TokenScore.ExpectedAttention => ReferenceExpectedAttention.Scores(prompt, eviction.SinkTokens),
            _ => [.. prompt.LeavingRows.Select(t => prompt.Probed[t])],
        };
        if (eviction.SecondStage)
            return (scores, Weighed(scores, prompt.OutputNorm));
        if (eviction.WeighByValue)
            return (Weighed(scores, prompt.OutputNorm), null);
        // The method's own norm, where none other takes its place.
        return eviction.Score == TokenScore.ExpectedAttention
            ? (Weighed(scores, value => Math.Sqrt(ReferenceAttention.Dot(value, value))), null)
            : (scores, null);

        double[] Weighed(double[] scores, Func<double[], double> norm) =>
            [.. prompt.LeavingRows.Zip(scores, (t, score) => score * norm(prompt.Values[t]!))];
    }

    // SnapKV, arXiv 2404.14469: the observed queries' attention, mean over the group, pooled among the leaving rows.
    private static double[] WindowAttention(ReferencePrompt prompt, int window, int kernel)
    {
        var mass = prompt.AttentionMass(prompt.Observed(window));
        var reach = kernel / 2;
        var (first, count) = prompt.Leaving;
        return
        [
            .. prompt.LeavingRows.Select(t => Enumerable.Range(t - reach, kernel)
                .Where(near => near >= first && near < first + count)
                .Max(near => mass[near] / prompt.Group)),
        ];
    }

    // H2O, arXiv 2306.14048: all queries' attention, divided by how many of them see the row.
    private static double[] AccumulatedAttention(ReferencePrompt prompt)
    {
        var mass = prompt.AttentionMass(prompt.Observed(prompt.SegmentTokens));
        var window = prompt.Shape.Window > 0 ? prompt.Shape.Window : int.MaxValue;
        int Seen(int t) => Enumerable.Range(prompt.FirstQuery, prompt.SegmentTokens).Count(query => query >= t && query - t < window);
        return [.. prompt.LeavingRows.Select(t => Seen(t) == 0 ? 0 : mass[t] / (Seen(t) * prompt.Group))];
    }
}
