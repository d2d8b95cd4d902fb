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
        weights.Read(name, shape, values);
        return values;
    }
}
