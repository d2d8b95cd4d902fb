namespace KvPrune.ModelBuilder;

/// <summary>Where the weights come from: a checkpoint or a random generator.</summary>
internal interface IWeightSource
{
    /// <summary>Reads one whole tensor in row-major order as fp32.</summary>
    float[] Read(string name, ReadOnlySpan<int> shape);
}
