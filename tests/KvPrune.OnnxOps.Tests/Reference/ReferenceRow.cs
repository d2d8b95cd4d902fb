namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>
/// One row of K or V of one head. <paramref name="Stored"/> is what attention reads, removed entries 0.
/// </summary>
/// <param name="Source">The row before anything was removed or rounded.</param>
/// <param name="Stored">The row as stored, as full width.</param>
/// <param name="Threshold">Of a channel the smallest magnitude kept; entries at it may go either way.</param>
/// <param name="Step">At least the distance of neighbouring stored values around a channel's.</param>
internal sealed record ReferenceRow(double[] Source, double[] Stored, Func<int, double> Threshold, Func<int, double> Step)
{
    /// <summary>The largest magnitude before anything was removed, to which single-precision errors are relative.</summary>
    public double Largest { get; } = Source.Max(Math.Abs);

    /// <summary>A row of which nothing is removed, in floating-point numbers.</summary>
    public static ReferenceRow Dense(double[] source, KvStorage storage) => storage switch
    {
        KvStorage.BFloat16 => new(source, Array.ConvertAll(source, BFloat16.Round), NoThreshold, j => Math.Abs(source[j]) / 128),
        // Subnormal numbers are 2^-24 apart.
        KvStorage.Float16 => new(
            source, Array.ConvertAll(source, x => (double)(Half)(float)x), NoThreshold, j => Math.Max(Math.Abs(source[j]) / 1024, 6e-8)),
        _ => new(source, Array.ConvertAll(source, x => (double)(float)x), NoThreshold, _ => 0),
    };

    /// <summary>
    /// The elements that stay, rounded to the storage. 4-bit rows come out rounded only where elements are removed from them;
    /// <see cref="ReferenceInt4"/> rounds the others.
    /// </summary>
    /// <param name="source">The row before.</param>
    /// <param name="marks">Of each channel whether it stays, and the smallest magnitude that does.</param>
    /// <param name="storage">What it is rounded to.</param>
    /// <param name="sparse">Whether elements are removed from the row's channels.</param>
    public static ReferenceRow Pruned(
        double[] source, (bool Stays, double Threshold)[] marks, KvStorage storage, bool sparse)
    {
        var dense = Dense(source, storage);
        int[] survivors = [.. Enumerable.Range(0, source.Length).Where(j => marks[j].Stays)];
        var stored = new double[source.Length];
        double Threshold(int channel) => marks[channel].Threshold;
        var levels = storage == KvStorage.Int8 ? 127 : storage == KvStorage.Int4 && sparse ? 7 : 0;
        if (levels == 0)
        {
            foreach (var channel in survivors)
                stored[channel] = dense.Stored[channel];
            return dense with { Stored = stored, Threshold = Threshold };
        }

        double scale = BFloat16.RoundUp((float)survivors.Select(j => Math.Abs(dense.Stored[j])).DefaultIfEmpty(0).Max() / levels);
        foreach (var channel in survivors.Where(_ => scale > 0))
            stored[channel] = scale * Math.Round(source[channel] / scale, MidpointRounding.ToEven);
        return new ReferenceRow(source, stored, Threshold, _ => scale);
    }

    private static double NoThreshold(int channel) => 0;
}
