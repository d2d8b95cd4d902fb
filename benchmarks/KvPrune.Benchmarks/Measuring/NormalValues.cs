namespace KvPrune.Benchmarks.Measuring;

/// <summary>Random numbers that look like a model's activations.</summary>
internal static class NormalValues
{
    /// <summary>Normally distributed values of mean 0 and variance 1; the first ones do not depend on the count.</summary>
    public static float[] Of(int seed, long count)
    {
        var random = new Random(seed);
        var values = new float[count];
        for (long i = 0; i < count; i += 2)
        {
            // Box and Muller's transform.
            var radius = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble()));
            var (sine, cosine) = Math.SinCos(2 * Math.PI * random.NextDouble());
            values[i] = (float)(radius * cosine);
            if (i + 1 < count)
                values[i + 1] = (float)(radius * sine);
        }

        return values;
    }
}
