namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>
/// KIVI's 4-bit quantisation (arXiv 2402.02750) of the 64 rows of a tile of which no elements are removed: 16 values in
/// even steps from just below a group's least value to just above its largest.
/// </summary>
internal static class ReferenceInt4
{
    private const int GroupChannels = 64;

    /// <summary>A group is one of <paramref name="channels"/> of all rows.</summary>
    public static ReferenceRow[] Keys(IReadOnlyList<ReferenceRow> rows, IReadOnlyList<int> channels)
    {
        var steps = new double[rows[0].Stored.Length];
        var stored = rows.Select(row => (double[])row.Stored.Clone()).ToArray();
        foreach (var channel in channels)
        {
            var (rounded, step) = Group([.. rows.Select(row => row.Stored[channel])]);
            for (var i = 0; i < stored.Length; i++)
                stored[i][channel] = rounded[i];
            steps[channel] = step;
        }

        return [.. rows.Zip(stored, (row, values) => row with { Stored = values, Threshold = _ => 0, Step = j => steps[j] })];
    }

    /// <summary>A group is 64 of <paramref name="channels"/> of one row.</summary>
    public static ReferenceRow Value(ReferenceRow row, IReadOnlyList<int> channels)
    {
        var stored = new double[row.Stored.Length];
        var steps = new double[row.Stored.Length];
        foreach (var group in channels.Chunk(GroupChannels))
        {
            var (rounded, step) = Group([.. group.Select(channel => row.Stored[channel])]);
            foreach (var (index, channel) in group.Index())
                (stored[channel], steps[channel]) = (rounded[index], step);
        }

        return row with { Stored = stored, Threshold = _ => 0, Step = j => steps[j] };
    }

    private static (double[] Rounded, double Step) Group(double[] values)
    {
        double zero = BFloat16.RoundDown((float)values.Min());
        var range = (float)(values.Max() - zero);
        if (range == 0)
            return ([.. values.Select(_ => zero)], 0);
        double step = BFloat16.RoundUp(range / 15);
        return ([.. values.Select(x => zero + (step * Math.Round((x - zero) / step, MidpointRounding.ToEven)))], step);
    }
}
