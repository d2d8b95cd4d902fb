namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>
/// One row of K or V of one head. <paramref name="Stored"/> is what attention reads, removed entries 0.
/// </summary>
/// <param name="Source">The row before anything was removed or rounded.</param>
/// <param name="Stored">The row as stored, as full width.</param>
/// <param name="Threshold">Smallest magnitude kept; entries at it may go either way.</param>
/// <param name="Step">At least the distance of neighbouring stored values around a channel's.</param>
internal sealed record ReferenceRow(double[] Source, double[] Stored, double Threshold, Func<int, double> Step)
{
    /// <summary>The largest magnitude before anything was removed, to which single-precision errors are relative.</summary>
    public double Largest { get; } = Source.Max(Math.Abs);

    /// <summary>A row of which nothing is removed, in floating-point numbers.</summary>
    public static ReferenceRow Dense(double[] source, KvStorage storage) => storage switch
    {
        KvStorage.BFloat16 => new(source, Array.ConvertAll(source, BFloat16.Round), 0, j => Math.Abs(source[j]) / 128),
        // Subnormal numbers are 2^-24 apart.
        KvStorage.Float16 => new(
            source, Array.ConvertAll(source, x => (double)(Half)(float)x), 0, j => Math.Max(Math.Abs(source[j]) / 1024, 6e-8)),
        _ => new(source, Array.ConvertAll(source, x => (double)(float)x), 0, _ => 0),
    };

    /// <summary>
    /// The channels in <paramref name="channels"/>, of these the round((1 − s)·width) largest magnitudes (at least one,
    /// the lower channel of equals), rounded to the storage. 4-bit rows come out rounded only where something is removed
    /// from them; <see cref="ReferenceInt4"/> rounds the others.
    /// </summary>
    public static ReferenceRow Pruned(double[] source, IReadOnlyList<int> channels, double sparsity, KvStorage storage)
    {
        var kept = Kept(channels.Count, sparsity);
        var dense = Dense(source, storage);
        double Magnitude(int channel) => Math.Abs(dense.Stored[channel]);
        var survivors = channels.OrderByDescending(Magnitude).ThenBy(channel => channel).Take(kept).ToArray();
        var threshold = Magnitude(survivors[^1]);
        var stored = new double[source.Length];
        var levels = storage == KvStorage.Int8 ? 127 : storage == KvStorage.Int4 && kept < channels.Count ? 7 : 0;
        if (levels == 0)
        {
            foreach (var channel in survivors)
                stored[channel] = dense.Stored[channel];
            return dense with { Stored = stored, Threshold = threshold };
        }

        double scale = BFloat16.RoundUp((float)survivors.Max(Magnitude) / levels);
        foreach (var channel in survivors)
            stored[channel] = scale * Math.Round(source[channel] / scale, MidpointRounding.ToEven);
        return new ReferenceRow(source, stored, threshold, _ => scale);
    }

    /// <summary>How many of <paramref name="width"/> elements a row keeps.</summary>
    public static int Kept(int width, double sparsity) =>
        Math.Max(1, (int)Math.Round((1 - (double)(float)sparsity) * width, MidpointRounding.AwayFromZero));
}
