namespace KvPrune.ModelBuilder;

/// <summary>Where the weights come from: a checkpoint or a random generator.</summary>
internal interface IWeightSource
{
    /// <summary>Reads one whole tensor in row-major order as fp32; the caller's buffer holds exactly as many values.</summary>
    void Read(string name, ReadOnlySpan<int> shape, Span<float> values);
}
