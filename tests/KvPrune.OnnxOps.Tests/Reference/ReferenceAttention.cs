using System.Numerics.Tensors;
using KvPrune.OnnxOps.Tests.Graphs;

namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>softmax(cap(q·Kᵀ/√D)) of one query over rows at their positions.</summary>
internal static class ReferenceAttention
{
    /// <summary>
    /// The weight of each row; 0 for those that the query does not see: later ones, those outside of the window, evicted ones
    /// (null). <paramref name="sink"/> is a logit of its own, −∞ for none.
    /// </summary>
    public static double[] Weights(AttentionShape shape, double[] query, int position, IReadOnlyList<double[]?> keys, double sink)
    {
        var first = shape.Window > 0 ? Math.Max(0, position + 1 - shape.Window) : 0;
        var logits = new double[keys.Count];
        Array.Fill(logits, double.NegativeInfinity);
        for (var t = first; t <= Math.Min(position, keys.Count - 1); t++)
        {
            if (keys[t] is not { } key)
                continue;
            logits[t] = Dot(query, key) / Math.Sqrt(shape.HeadSize);
            if (shape.Softcap > 0)
                logits[t] = shape.Softcap * Math.Tanh(logits[t] / shape.Softcap);
        }

        var most = Math.Max(sink, logits.Max());
        var weights = Array.ConvertAll(logits, logit => Math.Exp(logit - most));
        var total = weights.Sum() + Math.Exp(sink - most);
        return Array.ConvertAll(weights, weight => weight / total);
    }

    public static double Dot(double[] left, double[] right) => TensorPrimitives.Dot<double>(left, right);
}
