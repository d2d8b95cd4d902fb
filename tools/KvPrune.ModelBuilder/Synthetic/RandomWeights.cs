namespace KvPrune.ModelBuilder.Synthetic;

/// <summary>
/// Weights drawn so that a forward pass of any size is well-conditioned and worth comparing: logits have a standard deviation of
/// about 2, attention scores of about 3 (each query picks few keys, so a wrong cache shows), and the branches outweigh the
/// embedding in the residual stream, without which a model with tied embeddings only repeats its last token.
/// </summary>
internal sealed class RandomWeights(int seed) : IWeightSource
{
    // A uniform draw over ±√3·σ has the standard deviation σ and costs a fraction of a normal one.
    private static readonly float Sqrt3 = MathF.Sqrt(3);

    public void Read(string name, ReadOnlySpan<int> dimensions, Span<float> values)
    {
        var (centre, width) = Range(name, dimensions[^1]);
        // Every tensor has a stream of its own, so that its values do not depend on the order of reading.
        var random = new SplitMix64((ulong)(uint)seed ^ (Hash(name) << 1));
        foreach (ref var value in values)
            value = centre + (width * random.NextSigned());
    }

    private static (float Centre, float HalfWidth) Range(string name, int inputs)
    {
        if (name.EndsWith("norm.weight", StringComparison.Ordinal))
            return (1, 0.2f);
        if (name is LlamaTensors.Embedding or LlamaTensors.OutputHead)
            return (0, 2 * Sqrt3 / MathF.Sqrt(inputs));
        var gain = name.Split('.')[^2] switch
        {
            "q_proj" or "k_proj" => Sqrt3,
            "o_proj" or "down_proj" => 3,
            _ => 1,
        };
        return (0, gain * Sqrt3 / MathF.Sqrt(inputs));
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
