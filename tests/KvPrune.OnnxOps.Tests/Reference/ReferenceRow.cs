namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>
/// One row of K or V of one head. <paramref name="Stored"/> is what attention reads, removed entries 0.
/// </summary>
/// <param name="Source">The row before anything was removed or rounded.</param>
/// <param name="Stored">The row as stored, as full width.</param>
/// <param name="Threshold">Smallest magnitude kept; entries at it may go either way.</param>
/// <param name="Step">At least the distance of neighbouring stored values around a given one.</param>
internal sealed record ReferenceRow(double[] Source, double[] Stored, double Threshold, Func<double, double> Step)
{
    /// <summary>The largest magnitude before anything was removed, to which single-precision errors are relative.</summary>
    public double Largest { get; } = Source.Max(Math.Abs);

    /// <summary>A row of which nothing is removed.</summary>
    public static ReferenceRow Dense(double[] source, KvStorage storage) => storage == KvStorage.Float32
        ? new(source, Array.ConvertAll(source, x => (double)(float)x), 0, _ => 0)
        : new(source, Array.ConvertAll(source, BFloat16.Round), 0, x => Math.Abs(x) / 128);

    /// <summary>
    /// The channels in <paramref name="channels"/>, of these the round((1 − s)·width) largest magnitudes (at least one,
    /// the lower channel of equals), rounded to the storage.
    /// </summary>
    public static ReferenceRow Pruned(double[] source, IReadOnlyList<int> channels, double sparsity, KvStorage storage)
    {
        var kept = Math.Max(1, (int)Math.Round((1 - (double)(float)sparsity) * channels.Count, MidpointRounding.AwayFromZero));
        double Magnitude(int channel) =>
            Math.Abs(storage == KvStorage.BFloat16 ? BFloat16.Round(source[channel]) : source[channel]);
        var survivors = channels.OrderByDescending(Magnitude).ThenBy(channel => channel).Take(kept).ToArray();
        var threshold = Magnitude(survivors[^1]);
        var dense = Dense(source, storage == KvStorage.Int8 ? KvStorage.Float32 : storage);
        var stored = new double[source.Length];
        if (storage != KvStorage.Int8)
        {
            foreach (var channel in survivors)
                stored[channel] = dense.Stored[channel];
            return dense with { Stored = stored, Threshold = threshold };
        }

        double scale = BFloat16.RoundUp((float)survivors.Max(Magnitude) / 127);
        foreach (var channel in survivors)
            stored[channel] = scale * Math.Round(source[channel] / scale, MidpointRounding.ToEven);
        return new ReferenceRow(source, stored, threshold, _ => scale);
    }
}
