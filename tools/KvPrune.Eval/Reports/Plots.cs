using KvPrune.Eval.Methods;
using KvPrune.Eval.Results;
using KvPrune.Eval.Running;
using ScottPlot;
using ScottPlot.TickGenerators;

namespace KvPrune.Eval.Reports;

/// <summary>Accuracy and divergence against measured bytes, one line for each family of methods.</summary>
internal static class Plots
{
    private const int Width = 1200;
    private const int LeastHeight = 700;
    private const int LegendRowHeight = 22;

    /// <summary>Writes the plots for which there are results into a folder.</summary>
    /// <returns>The files' names.</returns>
    public static List<string> Write(IReadOnlyList<MethodRow> rows, string folder)
    {
        List<string> files = [];
        foreach (IGrouping<AskMode, MethodRow> mode in rows.Where(row => row.Accuracy is not null).GroupBy(row => row.Mode))
        {
            var plot = Lines([.. mode], row => 100 * row.Accuracy?.Value);
            plot.YLabel("right answers, per cent");
            Save(plot, $"accuracy-{mode.Key.ToString().ToLowerInvariant()}.png");
        }
        MethodRow[] once = [.. rows.DistinctBy(row => row.Method)];
        // Divergences span orders of magnitude; the baseline's is 0 and has no place on a logarithmic axis.
        if (once.Any(row => row.Kl is { Value: > 0 }))
        {
            var plot = Lines(once, row => row.Kl is { Value: > 0 } kl ? Math.Log10(kl.Value) : null);
            plot.YLabel("KL to dense, nats a token");
            plot.Axes.Left.TickGenerator = new NumericAutomatic
            {
                IntegerTicksOnly = true,
                LabelFormatter = exponent => Math.Pow(10, exponent).ToString("0.######", System.Globalization.CultureInfo.InvariantCulture),
            };
            Save(plot, "kl.png");
        }
        return files;

        void Save(Plot plot, string file)
        {
            int height = Math.Max(LeastHeight, LegendRowHeight * (3 + plot.GetPlottables().Count()));
            plot.SavePng(Path.Combine(folder, file), Width, height);
            files.Add(file);
        }
    }

    private static Plot Lines(IReadOnlyCollection<MethodRow> rows, Func<MethodRow, double?> value)
    {
        // What takes more than the dense cache, such as 32 bits, would squeeze the others together.
        double widest = 1.1 * rows.FirstOrDefault(row => row.Method == MethodCatalogue.Baseline.Name)?.BytesVsDense16 ?? double.MaxValue;
        var plot = new Plot();
        var markers = Enum.GetValues<MarkerShape>().Where(shape => shape.ToString().StartsWith("Filled", StringComparison.Ordinal)).ToArray();
        foreach ((int i, var family) in rows.GroupBy(row => row.Family).Index())
        {
            (double X, double Y)[] points =
                [.. family.Where(row => row.BytesVsDense16 <= widest && value(row) is not null)
                    .Select(row => (row.BytesVsDense16!.Value, value(row)!.Value)).OrderBy(point => point.Item1)];
            if (points.Length == 0) continue;
            var line = plot.Add.Scatter(points.Select(point => point.X).ToArray(), points.Select(point => point.Y).ToArray());
            line.LegendText = family.Key;
            line.LineWidth = 2;
            line.MarkerSize = 9;
            line.MarkerShape = markers[i / 10 % markers.Length]; // the palette has ten colours
        }
        plot.XLabel("bytes, of a dense 16-bit cache");
        plot.ShowLegend(Edge.Right);
        return plot;
    }
}
