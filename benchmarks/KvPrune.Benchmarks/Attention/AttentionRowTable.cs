using System.Globalization;
using KvPrune.Benchmarks.Measuring;

namespace KvPrune.Benchmarks.Attention;

/// <summary>The columns of the printed table.</summary>
internal static class AttentionRowTable
{
    private static readonly (string Name, Func<AttentionRow, string> Cell)[] Columns =
    [
        ("bench", row => row.Bench),
        ("shape", row => row.Shape),
        ("context", row => Text(row.Context)),
        ("new", row => Text(row.NewTokens)),
        ("chunk", row => Text(row.ChunkTokens)),
        ("threads", row => Text(row.Threads)),
        ("batch", row => row.Batch == 1 ? "" : Text(row.Batch)),
        ("format", row => row.Format),
        ("kernels", row => row.Kernels),
        ("stock µs", row => Text(row.StockMedian.TotalMicroseconds, "f0")),
        ("µs", row => Text(row.Median.TotalMicroseconds, "f0")),
        ("× stock", row => Text(row.RatioVsStock, "f2")),
        ("quartiles", row => $"{Text(row.LowerQuartile, "f2")}-{Text(row.UpperQuartile, "f2")}"),
        ("reach", row => row.Reach is { } reach ? Text(reach, "0.0#") : ""),
        ("holds", row => row.Reach is { } reach ? row.RatioVsStock >= reach ? "yes" : "no" : ""),
        ("bytes/dense16", row => Text(row.BytesVsDense16, "f3")),
        ("GB/s", row => row.NewTokens is null ? Text(row.Gbps, "f1") : ""),
        ("of read", row => row.NewTokens is null ? Text(row.Gbps / (row.Threads == 1 ? row.ReadGbpsOneThread : row.ReadGbpsAllThreads), "p0") : ""),
        ("speed-up", row => row.Speedup is { } speedup ? Text(speedup, "f2") : ""),
        ("sealing", row => row.SealShare is { } share ? Text(share, "p1") : ""),
        ("peak MiB", row => Mebibytes(row.PeakBytes)),
        ("estimate MiB", row => Mebibytes(row.EstimatedBytes)),
    ];

    public static void Print(IReadOnlyList<AttentionRow> rows) => ResultTable.Print(rows, Columns);

    private static string Mebibytes(long? bytes) => bytes is { } known ? Text(known / (double)(1 << 20), "f1") : "";

    private static string Text(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    private static string Text(int? value) => value?.ToString(CultureInfo.InvariantCulture) ?? "";
}
