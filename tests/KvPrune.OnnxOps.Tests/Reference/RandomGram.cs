using KvPrune.OnnxOps.Tests.Graphs;

namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>Gram matrices of output projections that no model has.</summary>
internal static class RandomGram
{
    /// <summary>WᵀW of a random W for each KV head, [KV heads, channels, channels].</summary>
    public static float[] Of(AttentionShape shape, int seed)
    {
        var random = new Random(seed);
        var size = shape.HeadSize;
        var gram = new float[shape.KvHeads * size * size];
        for (var head = 0; head < shape.KvHeads; head++)
        {
            double[][] columns =
                [.. Enumerable.Range(0, size).Select(_ => Enumerable.Range(0, size).Select(_ => random.NextDouble() - 0.5).ToArray())];
            for (var i = 0; i < size; i++)
            {
                for (var j = 0; j < size; j++)
                    gram[(((head * size) + i) * size) + j] = (float)ReferenceAttention.Dot(columns[i], columns[j]);
            }
        }

        return gram;
    }
}
