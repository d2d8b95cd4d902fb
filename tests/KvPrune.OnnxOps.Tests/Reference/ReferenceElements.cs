namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>MUSTAFAR, arXiv 2505.22913: which elements of rows stay.</summary>
internal static class ReferenceElements
{
    public const int GroupTokens = 32;

    /// <summary>How many of <paramref name="width"/> elements stay.</summary>
    public static int Kept(int width, double sparsity) =>
        Math.Max(1, (int)Math.Round((1 - (double)(float)sparsity) * width, MidpointRounding.AwayFromZero));

    /// <summary>Nothing of these channels is removed.</summary>
    public static (bool Stays, double Threshold)[] All(int width, IReadOnlyList<int> channels)
    {
        var marks = new (bool, double)[width];
        foreach (var j in channels)
            marks[j].Item1 = true;
        return marks;
    }

    /// <summary>Of each row's channels the largest magnitudes times the channel's weight; the lower one of equals.</summary>
    /// <returns>Of each row and channel the smallest magnitude that stays, and whether it does: [row][channel].</returns>
    public static (bool Stays, double Threshold)[][] PerToken(
        IReadOnlyList<double[]> rows, IReadOnlyList<int> channels, double sparsity, Func<int, double> weight) =>
        [
            .. rows.Select(row =>
            {
                double Score(int j) => Math.Abs(row[j]) * weight(j);
                int[] stay = [.. channels.OrderByDescending(Score).ThenBy(j => j).Take(Kept(channels.Count, sparsity))];
                var marks = new (bool, double)[row.Length];
                var least = Score(stay[^1]);
                foreach (var j in channels)
                    marks[j] = (false, weight(j) > 0 ? least / weight(j) : 0);
                foreach (var j in stay)
                    marks[j].Item1 = true;
                return marks;
            }),
        ];

    /// <summary>
    /// Of each channel in 32 consecutive rows the largest magnitudes times the row's weight; the earlier one of equals.
    /// </summary>
    /// <inheritdoc cref="PerToken" path="/returns"/>
    public static (bool Stays, double Threshold)[][] PerChannel(
        IReadOnlyList<double[]> rows, IReadOnlyList<int> channels, double sparsity, Func<int, double> weight)
    {
        var marks = rows.Select(row => new (bool, double)[row.Length]).ToArray();
        foreach (var group in Enumerable.Range(0, rows.Count).Chunk(GroupTokens))
        {
            foreach (var j in channels)
            {
                double Score(int row) => Math.Abs(rows[row][j]) * weight(row);
                int[] stay = [.. group.OrderByDescending(Score).ThenBy(row => row).Take(Kept(GroupTokens, sparsity))];
                foreach (var row in group)
                    marks[row][j] = (stay.Contains(row), weight(row) > 0 ? Score(stay[^1]) / weight(row) : 0);
            }
        }

        return marks;
    }
}
