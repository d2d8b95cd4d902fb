namespace KvPrune.ModelBuilder.Synthetic;

/// <summary>
/// Weights drawn so that a forward pass stays well-conditioned at any size: a linear layer keeps the variance of its input, the
/// branches that add to the residual stream shrink with the depth, and logits have a standard deviation of about 2.
/// </summary>
internal sealed class RandomWeights(LlamaShape shape, int seed) : IWeightSource
{
    // A uniform draw over ±√3·σ has the standard deviation σ and costs a fraction of a normal one.
    private static readonly float Sqrt3 = MathF.Sqrt(3);

    public float[] Read(string name, ReadOnlySpan<int> dimensions)
    {
        long length = 1;
        foreach (var dimension in dimensions)
            length *= dimension;
        var values = new float[length];
        var (centre, width) = Range(name, dimensions[^1]);
        // Every tensor has a stream of its own, so that its values do not depend on the order of reading.
        var random = new SplitMix64((ulong)(uint)seed ^ (Hash(name) << 1));
        foreach (ref var value in values.AsSpan())
            value = centre + (width * random.NextSigned());
        return values;
    }

    private (float Centre, float HalfWidth) Range(string name, int inputs)
    {
        if (name.EndsWith("norm.weight", StringComparison.Ordinal))
            return (1, 0.2f);
        if (name is LlamaTensors.Embedding or LlamaTensors.OutputHead)
            return (0, 2 * Sqrt3 / MathF.Sqrt(inputs));
        var residual = name.Contains("o_proj", StringComparison.Ordinal) || name.Contains("down_proj", StringComparison.Ordinal);
        return (0, Sqrt3 / MathF.Sqrt(inputs) / (residual ? MathF.Sqrt(2 * shape.Layers) : 1));
    }

    // FNV-1a: the same in every process, unlike string.GetHashCode.
    private static ulong Hash(string text)
    {
        var hash = 14_695_981_039_346_656_037UL;
        foreach (var letter in text)
            hash = unchecked((hash ^ letter) * 1_099_511_628_211UL);
        return hash;
    }
}
