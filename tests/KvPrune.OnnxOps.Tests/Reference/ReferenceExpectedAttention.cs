using KvPrune.OnnxOps.Tests.Graphs;

namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>
/// Expected Attention, arXiv 2510.00636: softmax over the rows of z = μ·k/√D + kᵀΣk/(2D), mean over the group, with mean and
/// covariance of the queries before rotation turned by the average rotation of the next 512 positions.
/// </summary>
internal static class ReferenceExpectedAttention
{
    private const int Ahead = 512;

    /// <summary>Of the leaving rows; the softmax is over all rows that are dense. The first queries are no sample.</summary>
    public static double[] Scores(ReferencePrompt prompt, int skipped)
    {
        var rows = Enumerable.Range(prompt.Leaving.First, prompt.Keys.Count - prompt.Leaving.First).ToArray();
        var attention = new double[rows.Length];
        foreach (var queries in prompt.Raw)
        {
            double[][] sample = [.. queries.Skip(Math.Max(0, skipped - prompt.FirstQuery))];
            var (mean, covariance) = Moments(sample, prompt.Shape.HeadSize);
            var rotation = Rotation(prompt.Shape, prompt.Keys.Count);
            mean = Apply(rotation, mean);
            covariance = Turned(rotation, covariance);
            var logits = Array.ConvertAll(rows, t => Logit(prompt.Keys[t]!, mean, covariance));
            var most = logits.Max();
            var total = logits.Sum(z => Math.Exp(z - most));
            for (var i = 0; i < rows.Length; i++)
                attention[i] += Math.Exp(logits[i] - most) / total / prompt.Group;
        }

        return attention[..prompt.Leaving.Count];
    }

    private static double Logit(double[] key, double[] mean, double[][] covariance)
    {
        double size = key.Length;
        return (ReferenceAttention.Dot(mean, key) / Math.Sqrt(size))
            + (ReferenceAttention.Dot(key, Apply(covariance, key)) / (2 * size));
    }

    private static (double[] Mean, double[][] Covariance) Moments(double[][] sample, int size)
    {
        var weight = sample.Length == 0 ? 0 : 1.0 / sample.Length;
        double[] mean = [.. Enumerable.Range(0, size).Select(j => weight * sample.Sum(query => query[j]))];
        // [channel][query]
        double[][] centred = [.. mean.Select((average, j) => sample.Select(query => query[j] - average).ToArray())];
        double[][] covariance = [.. centred.Select(
            left => centred.Select(right => weight * ReferenceAttention.Dot(left, right)).ToArray())];
        return (mean, covariance);
    }

    // The matrix that turns a row before rotation by the average of the next positions, as far as the caches reach.
    private static double[][] Rotation(AttentionShape shape, int position)
    {
        double[][] matrix =
        [
            .. Enumerable.Range(0, shape.HeadSize).Select(i => Enumerable.Range(0, shape.HeadSize).Select(j => i == j ? 1.0 : 0).ToArray()),
        ];
        if (!shape.Rotary)
            return matrix;
        var (cosines, sines) = shape.RotaryCaches();
        var half = shape.RotarySize / 2;
        var first = Math.Min(position, AttentionShape.MaxTokens - 1);
        var positions = Enumerable.Range(first, Math.Min(Ahead, AttentionShape.MaxTokens - first)).ToArray();
        for (var pair = 0; pair < half; pair++)
        {
            var (a, b) = shape.Interleaved ? (2 * pair, (2 * pair) + 1) : (pair, pair + half);
            var cosine = positions.Average(p => (double)cosines[(p * half) + pair]);
            var sine = positions.Average(p => (double)sines[(p * half) + pair]);
            (matrix[a][a], matrix[a][b], matrix[b][a], matrix[b][b]) = (cosine, -sine, sine, cosine);
        }

        return matrix;
    }

    private static double[] Apply(double[][] matrix, double[] vector) =>
        Array.ConvertAll(matrix, row => ReferenceAttention.Dot(row, vector));

    // R Σ Rᵀ
    private static double[][] Turned(double[][] rotation, double[][] covariance)
    {
        var half = Array.ConvertAll(covariance, row => Apply(rotation, row));
        var size = half.Length;
        return
        [
            .. Enumerable.Range(0, size).Select(i => Enumerable.Range(0, size)
                .Select(j => Enumerable.Range(0, size).Sum(k => rotation[i][k] * half[k][j])).ToArray()),
        ];
    }
}
