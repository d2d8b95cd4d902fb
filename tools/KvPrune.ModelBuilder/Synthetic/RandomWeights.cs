namespace KvPrune.ModelBuilder.Synthetic;

/// <summary>
/// Weights drawn so that a forward pass of any size is well-conditioned and worth comparing: logits have a standard deviation of
/// about 2, attention scores of about 3 (each query picks few keys, so a wrong cache shows), and the branches outweigh the
/// embedding in the residual stream, without which a model with tied embeddings only repeats its last token.
/// </summary>
internal sealed class RandomWeights(int seed, Architecture architecture = Architecture.Llama) : IWeightSource
{
    // A uniform draw over ±√3·σ has the standard deviation σ and costs a fraction of a normal one.
    private static readonly float Sqrt3 = MathF.Sqrt(3);

    public string FileOf(string name) => "random weights";

    public void Read(string name, ReadOnlySpan<int> shape, long start, Span<float> values)
    {
        var (centre, width) = Range(name, shape[^1]);
        // Every tensor has a stream of its own, so that its values do not depend on the order of reading.
        var random = new SplitMix64((ulong)(uint)seed ^ (Hash(name) << 1));
        random.Skip((ulong)start);
        foreach (ref var value in values)
            value = centre + (width * random.NextSigned());
    }

    private (float Centre, float HalfWidth) Range(string name, int inputs)
    {
        if (name.EndsWith("norm.weight", StringComparison.Ordinal))
            return (NormCentre(name), 0.2f);
        if (name.EndsWith(".bias", StringComparison.Ordinal))
            return (0, 1);
        if (name is ModelTensors.Embedding or ModelTensors.OutputHead)
            return (0, 2 * Sqrt3 / MathF.Sqrt(inputs));
        var gain = name.Split('.').SkipLast(1).LastOrDefault() switch
        {
            "q_proj" or "k_proj" or "qkv_proj" => Sqrt3,
            "o_proj" or "down_proj" => 3,
            _ => 1,
        };
        return (0, gain * Sqrt3 / MathF.Sqrt(inputs));
    }

    private float NormCentre(string name)
    {
        // Normed heads have a length of √D whatever the projections do; the norms' weights alone set the scores.
        if (name.Contains(".self_attn.", StringComparison.Ordinal))
            return Sqrt3;
        // Gemma adds 1 to the weights, and its norms behind the branches alone set what these add to the stream.
        if (architecture == Architecture.Gemma2)
            return name.Contains(".post_", StringComparison.Ordinal) ? 3 : 0;
        return 1;
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
