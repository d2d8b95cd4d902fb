namespace KvPrune.ModelBuilder;

/// <summary>Where the weights come from: a checkpoint or a random generator.</summary>
internal interface IWeightSource
{
    /// <summary>Reads elements of a tensor of this shape as fp32, in row-major order from element <paramref name="start"/> on.</summary>
    void Read(string name, ReadOnlySpan<int> shape, long start, Span<float> values);

    /// <summary>The file that holds the tensor, for messages.</summary>
    string FileOf(string name);
}
