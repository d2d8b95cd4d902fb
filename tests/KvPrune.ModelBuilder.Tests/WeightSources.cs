namespace KvPrune.ModelBuilder.Tests;

internal static class WeightSources
{
    /// <summary>Reads one tensor into an array of its own.</summary>
    public static float[] Read(this IWeightSource weights, string name, ReadOnlySpan<int> shape)
    {
        var length = 1;
        foreach (var dimension in shape)
            length *= dimension;
        var values = new float[length];
        weights.Read(name, shape, 0, values);
        return values;
    }

    /// <summary>The same weights, each tensor changed as a whole.</summary>
    public static IWeightSource Select(this IWeightSource weights, Func<string, int[], float[], float[]> change) => new Changed(weights, change);

    private sealed class Changed(IWeightSource weights, Func<string, int[], float[], float[]> change) : IWeightSource
    {
        public void Read(string name, ReadOnlySpan<int> shape, long start, Span<float> values)
        {
            var dimensions = shape.ToArray();
            change(name, dimensions, weights.Read(name, shape)).AsSpan((int)start, values.Length).CopyTo(values);
        }

        public string FileOf(string name) => weights.FileOf(name);
    }
}
