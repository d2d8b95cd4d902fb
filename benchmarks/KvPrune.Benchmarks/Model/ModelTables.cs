using System.Globalization;
using KvPrune.Benchmarks.Measuring;

namespace KvPrune.Benchmarks.Model;

/// <summary>The columns of the printed tables.</summary>
internal static class ModelTables
{
    private static readonly (string Name, Func<ModelRow, string> Cell)[] Decode =
    [
        ("model", row => row.Shape),
        ("context", row => Text(row.Context)),
        ("filled", row => row.Filled > 0 ? Text(row.Filled) : ""),
        ("threads", row => Text(row.Threads)),
        ("run as", row => row.Format),
        ("first token s", row => Text(row.FirstTokenSeconds, "f2")),
        ("× stock", row => Text(row.FirstTokenRatioVsStock, "f2")),
        ("tokens/s", row => Text(row.TokensPerSecond, "f1")),
        ("× stock", row => Text(row.RatioVsStock, "f2")),
        ("quartiles", row => $"{Text(row.LowerQuartile, "f2")}-{Text(row.UpperQuartile, "f2")}"),
        ("reach", row => row.Reach is { } reach ? Text(reach, "0.#") : ""),
        ("holds", row => row.Reach is { } reach ? row.RatioVsStock >= reach ? "yes" : "no" : ""),
        ("roofline", row => Text(row.RooflineRatio, "f2")),
        ("weights ms", row => Text(row.WeightsSeconds * 1e3, "f2")),
        ("attention ms", row => Text(row.AttentionSeconds * 1e3, "f2")),
        ("seal s", row => row.SealSeconds is { } seal ? Text(seal, "f2") : ""),
        ("bytes/dense16", row => Text(row.BytesVsDense16, "f3")),
        ("equal tokens", row => Text(row.EqualTokens)),
    ];

    private static readonly (string Name, Func<StepsRow, string> Cell)[] Steps =
    [
        ("model", row => row.Shape),
        ("context", row => Text(row.Context)),
        ("threads", row => Text(row.Threads)),
        ("run as", row => row.Format),
        ("steps", row => Text(row.Steps)),
        ("median ms", row => Text(row.MedianMilliseconds, "f2")),
        ("p99/median", row => Text(row.P99VsMedian, "f2")),
        ("max/median", row => Text(row.MaxVsMedian, "f2")),
        ("reach", row => row.Reach is { } reach ? $"≤ {Text(reach, "0.#")}" : ""),
        ("holds", row => row.Reach is { } reach ? row.MaxVsMedian <= reach ? "yes" : "no" : ""),
    ];

    public static void Print(IReadOnlyList<ModelRow> rows) => ResultTable.Print(rows, Decode);

    public static void Print(IReadOnlyList<StepsRow> rows) => ResultTable.Print(rows, Steps);

    private static string Text(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    private static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);
}
