namespace KvPrune.Benchmarks.Attention;

/// <summary>Normally distributed queries, keys and values of one layer, the same for every contestant.</summary>
internal sealed class AttentionInputs
{
    private const int Seed = 20240917;

    public AttentionInputs(AttentionShape shape, int tokens, int newTokens, int chunkTokens, float softcap)
    {
        Shape = shape;
        Tokens = tokens;
        NewTokens = newTokens;
        ChunkTokens = chunkTokens;
        Softcap = softcap;
        // One stream each, so that the token that is decoded does not depend on the length of the past.
        Queries = Normal(Seed, (long)tokens * shape.QueryWidth);
        Keys = Normal(Seed + 1, (long)tokens * shape.KvWidth);
        Values = Normal(Seed + 2, (long)tokens * shape.KvWidth);
    }

    public AttentionShape Shape { get; }

    /// <summary>The past and the new tokens, which are the last.</summary>
    public int Tokens { get; }

    /// <summary>Tokens of one step.</summary>
    public int NewTokens { get; }

    /// <summary>New tokens that one run takes at most.</summary>
    public int ChunkTokens { get; }

    /// <summary>Bound of the logits; 0: none.</summary>
    public float Softcap { get; }

    public int Past => Tokens - NewTokens;

    /// <summary>The runs of one step: first token and number of tokens.</summary>
    public IEnumerable<(int First, int Count)> Chunks()
    {
        for (var first = Past; first < Tokens; first += ChunkTokens)
            yield return (first, Math.Min(ChunkTokens, Tokens - first));
    }

    /// <summary>[Tokens, query heads × head size].</summary>
    public float[] Queries { get; }

    /// <summary>[Tokens, KV heads × head size].</summary>
    public float[] Keys { get; }

    /// <summary>[Tokens, KV heads × head size].</summary>
    public float[] Values { get; }

    /// <summary>Rows [first, first + count) of one of the arrays.</summary>
    public static Memory<float> Rows(float[] rows, int width, int first, int count) => rows.AsMemory(first * width, count * width);

    private static float[] Normal(int seed, long count)
    {
        var random = new Random(seed);
        var values = new float[count];
        for (long i = 0; i + 1 < count; i += 2)
        {
            // Box and Muller's transform.
            var radius = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble()));
            var (sine, cosine) = Math.SinCos(2 * Math.PI * random.NextDouble());
            values[i] = (float)(radius * cosine);
            values[i + 1] = (float)(radius * sine);
        }

        return values;
    }
}
