namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>Which of the leaving rows a head keeps, and by which scores.</summary>
internal sealed class ReferenceChoice
{
    private readonly double[] _scores;
    private readonly double[]? _second;
    // Of each stage the least score that it takes.
    private readonly double _border;
    private readonly double _secondBorder;

    private ReferenceChoice(bool[] kept, double[] scores, double[]? second, double border, double secondBorder) =>
        (Kept, _scores, _second, _border, _secondBorder) = (kept, scores, second, border, secondBorder);

    /// <summary>[leaving row]; ties keep the earlier row.</summary>
    public bool[] Kept { get; }

    /// <summary>Nothing is evicted.</summary>
    public static ReferenceChoice All(int count) => new([.. Enumerable.Repeat(true, count)], new double[count], null, 0, 0);

    /// <summary>
    /// The best by their scores; with second ones half by the first and the rest by the second among the others: CriticalKV,
    /// arXiv 2502.03805.
    /// </summary>
    public static ReferenceChoice Best(double[] scores, double[]? second, int kept, int sinks)
    {
        var chosen = new bool[scores.Length];
        double Take(double[] by, int count)
        {
            int[] best = [.. ReferenceBudgets.Ranked(by, sinks).Where(token => !chosen[token]).Take(count)];
            foreach (var token in best)
                chosen[token] = true;
            return best.Select(token => by[token]).DefaultIfEmpty(double.PositiveInfinity).Last();
        }

        var stage = second is null ? kept : kept / 2;
        var border = Take(scores, stage);
        return new(chosen, scores, second, border, second is null ? 0 : Take(second, kept - stage));
    }

    /// <summary>
    /// How far the score of a row that only one of two choices keeps is from the border of a stage, relative to the border: a
    /// swap is a tie where that is what rounding does to scores.
    /// </summary>
    public double Distance(int row)
    {
        var distance = Math.Abs(_scores[row] - _border) / _border;
        return _second is null ? distance : Math.Min(distance, Math.Abs(_second[row] - _secondBorder) / _secondBorder);
    }
}
