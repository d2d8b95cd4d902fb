using System.Numerics.Tensors;

namespace KvPrune.Eval.Running;

/// <summary>Distributions over the vocabulary, given as logits.</summary>
internal static class Distribution
{
    /// <summary>ln of the probabilities that logits [vocabulary] mean.</summary>
    /// <exception cref="InvalidDataException">The logits hold NaN, or their maximum is not finite.</exception>
    public static void LogProbabilities(ReadOnlySpan<float> logits, Span<double> result)
    {
        float max = TensorPrimitives.Max(logits);
        if (!float.IsFinite(max)) throw new InvalidDataException($"The largest of the model's logits is {max}.");
        TensorPrimitives.ConvertChecked(logits, result);
        TensorPrimitives.Subtract(result, max, result);
        double sum = 0;
        foreach (double logit in result) sum += Math.Exp(logit);
        TensorPrimitives.Subtract(result, Math.Log(sum), result);
    }

    /// <summary>The Kullback-Leibler divergence Σ p (ln p − ln q) in nats, of two ln-distributions.</summary>
    public static double Divergence(ReadOnlySpan<double> p, ReadOnlySpan<double> q)
    {
        double sum = 0;
        for (int i = 0; i < p.Length; i++)
        {
            double probability = Math.Exp(p[i]);
            if (probability > 0) sum += probability * (p[i] - q[i]);
        }
        return Math.Max(0, sum); // equal distributions may come out a rounding below
    }
}
