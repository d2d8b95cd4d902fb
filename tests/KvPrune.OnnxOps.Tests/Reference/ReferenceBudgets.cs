namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>How many of the leaving rows each head keeps, in whole tiles.</summary>
internal static class ReferenceBudgets
{
    private const int Tile = 64;

    /// <param name="policy">The policy.</param>
    /// <param name="scores">[layer][head][leaving row]</param>
    /// <param name="tokens">Dense rows at the segment's end: those that leave and those that stay.</param>
    /// <param name="sinks">How many of the leaving rows are sinks.</param>
    /// <returns>[layer][head]</returns>
    public static int[][] Of(PruningPolicy policy, double[][][] scores, int tokens, int sinks)
    {
        var eviction = policy.Eviction!;
        var leaving = scores[0][0].Length;
        var budgets = Layers(policy, scores.Length, tokens, leaving);
        var kept = eviction.Heads switch
        {
            HeadBudgets.Adaptive => [.. scores.Zip(budgets, (heads, budget) => Pooled(heads, budget, (float)eviction.HeadFloor, sinks))],
            HeadBudgets.Global => Global(scores, budgets[0], sinks),
            _ => scores.Zip(budgets, (heads, budget) => heads.Select(_ => budget).ToArray()).ToArray(),
        };
        return [.. kept.Select(heads => heads.Select(count => Math.Min(leaving, (count + (Tile / 2)) / Tile * Tile)).ToArray())];
    }

    /// <summary>Of <paramref name="leaving"/> of so many tokens, how many each layer's heads keep on average.</summary>
    public static int[] Layers(PruningPolicy policy, int layers, int tokens, int leaving)
    {
        var eviction = policy.Eviction!;
        int Keep(int layer)
        {
            var sparsity = policy.Layers.Count > 0 ? policy.Layers[layer].TokenSparsity ?? eviction.Sparsity : eviction.Sparsity;
            var kept = eviction.TokenBudget
                ?? Math.Max(1, (int)Math.Round((1 - (double)(float)sparsity) * tokens, MidpointRounding.AwayFromZero));
            return Math.Clamp(Math.Min(tokens, kept) - (tokens - leaving), 0, leaving);
        }

        int[] budgets = [.. Enumerable.Range(0, layers).Select(Keep)];
        return eviction.PyramidSlope > 0 ? Pyramid(budgets[0], layers, leaving, (float)eviction.PyramidSlope) : budgets;
    }

    // PyramidKV, arXiv 2406.02069: evenly from 2C - C/β down to C/β.
    private static int[] Pyramid(int uniform, int layers, int leaving, double slope)
    {
        if (layers < 2 || leaving < 2 * uniform)
            return [.. Enumerable.Repeat(uniform, layers)];
        var (last, first) = (uniform / slope, (2 * uniform) - (uniform / slope));
        return
        [
            .. Enumerable.Range(0, layers).Select(layer =>
                (int)Math.Round(first - ((first - last) * layer / (layers - 1)), MidpointRounding.AwayFromZero)),
        ];
    }

    private static int[][] Global(double[][][] scores, int budget, int sinks)
    {
        var heads = scores[0].Length;
        return [.. Pooled([.. scores.SelectMany(layer => layer)], budget, floor: 0, sinks).Chunk(heads)];
    }

    // AdaKV, arXiv 2407.11550: what each head keeps at least, then the best of all others.
    private static int[] Pooled(double[][] heads, int budget, double floor, int sinks)
    {
        var own = Math.Min(budget, Math.Max((int)(floor * budget), sinks));
        var rest = heads
            .SelectMany((scores, head) => Ranked(scores, sinks).Skip(own).Select(token => (Head: head, Token: token)))
            .OrderByDescending(entry => heads[entry.Head][entry.Token]).ThenBy(entry => entry.Token).ThenBy(entry => entry.Head)
            .Take((budget - own) * heads.Length)
            .CountBy(entry => entry.Head).ToDictionary();
        return [.. heads.Select((_, head) => own + rest.GetValueOrDefault(head))];
    }

    /// <summary>Sinks first, then the best; the earlier one of equals.</summary>
    public static IEnumerable<int> Ranked(double[] scores, int sinks) => Enumerable.Range(0, scores.Length)
        .OrderByDescending(token => token < sinks).ThenByDescending(token => token < sinks ? 0 : scores[token]).ThenBy(token => token);
}
