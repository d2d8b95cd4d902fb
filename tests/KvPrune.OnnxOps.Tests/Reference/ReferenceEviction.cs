namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>Which of the rows that leave the window stay in the cache.</summary>
internal static class ReferenceEviction
{
    /// <param name="policy">The policy.</param>
    /// <param name="prompts">[layer][KV head], all with the same leaving rows.</param>
    /// <returns>[layer][KV head]</returns>
    public static ReferenceChoice[][] Of(PruningPolicy policy, ReferencePrompt[][] prompts)
    {
        var (first, count) = prompts[0][0].Leaving;
        if (policy.Eviction is not { } eviction || count == 0)
            return [.. prompts.Select(layer => layer.Select(_ => ReferenceChoice.All(count)).ToArray())];
        var scores = prompts.Select(layer => layer.Select(head => ReferenceTokenScores.Of(head, policy)).ToArray()).ToArray();
        var sinks = Math.Clamp(eviction.SinkTokens - first, 0, count);
        var kept = ReferenceBudgets.Of(
            policy,
            [.. scores.Select(layer => layer.Select(head => head.Scores).ToArray())],
            prompts[0][0].Keys.Count - first,
            sinks);
        return
        [
            .. scores.Select((layer, l) => layer.Select(
                (head, h) => ReferenceChoice.Best(head.Scores, head.Second, kept[l][h], sinks)).ToArray()),
        ];
    }
}
