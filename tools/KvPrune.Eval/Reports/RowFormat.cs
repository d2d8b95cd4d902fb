using System.Text.Json;
using System.Text.Json.Serialization;
using KvPrune.Eval.Results;

namespace KvPrune.Eval.Reports;

/// <summary>Rows as JSON and CSV.</summary>
internal static class RowFormat
{
    private static readonly JsonSerializerOptions Format = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower) },
    };

    public static string Json(IReadOnlyList<MethodRow> rows) => JsonSerializer.Serialize(rows.Select(row => new
    {
        row.Method,
        row.Family,
        row.Mode,
        row.BytesVsDense16,
        row.SealedBytesVsDense16,
        row.AccuracyByTask,
        row.AccuracyByLength,
        Accuracy = row.Accuracy?.Value,
        AccuracyLow = row.Accuracy?.Low,
        AccuracyHigh = row.Accuracy?.High,
        DifferenceToDense = row.DifferenceToDense?.Value,
        DifferenceLow = row.DifferenceToDense?.Low,
        DifferenceHigh = row.DifferenceToDense?.High,
        row.DifferenceP,
        row.ExactMatch,
        Ppl = row.Ppl?.Value,
        PplLow = row.Ppl?.Low,
        PplHigh = row.Ppl?.High,
        PplVsDense = row.PplVsDense?.Value,
        PplVsDenseLow = row.PplVsDense?.Low,
        PplVsDenseHigh = row.PplVsDense?.High,
        Kl = row.Kl?.Value,
        KlLow = row.Kl?.Low,
        KlHigh = row.Kl?.High,
        row.Top1,
        row.Samples,
        Drift = row.Drift.Select(bucket => new { bucket.First, bucket.Tokens, Kl = bucket.Divergence / bucket.Tokens, Top1 = (double)bucket.SameChoice / bucket.Tokens }),
        row.RepeatedShare,
    }), Format);

    /// <summary>One line for each method and mode; nested values have a column each.</summary>
    public static string Csv(IReadOnlyList<MethodRow> rows)
    {
        string[] tasks = [.. rows.SelectMany(row => row.AccuracyByTask.Keys).Distinct()];
        int[] lengths = [.. rows.SelectMany(row => row.AccuracyByLength.Keys).Distinct().Order()];
        int[] buckets = [.. rows.SelectMany(row => row.Drift.Select(bucket => bucket.First)).Distinct().Order()];
        (string Name, Func<MethodRow, object?> Value)[] columns =
        [
            ("method", row => row.Method), ("family", row => $"\"{row.Family}\""), ("mode", row => JsonNamingPolicy.SnakeCaseLower.ConvertName(row.Mode.ToString())),
            ("bytes_vs_dense16", row => row.BytesVsDense16), ("sealed_bytes_vs_dense16", row => row.SealedBytesVsDense16),
            ("accuracy", row => row.Accuracy?.Value), ("accuracy_low", row => row.Accuracy?.Low), ("accuracy_high", row => row.Accuracy?.High),
            ("difference_to_dense", row => row.DifferenceToDense?.Value), ("difference_low", row => row.DifferenceToDense?.Low),
            ("difference_high", row => row.DifferenceToDense?.High), ("difference_p", row => row.DifferenceP), ("exact_match", row => row.ExactMatch),
            ("samples", row => row.Samples),
            ("ppl", row => row.Ppl?.Value), ("ppl_low", row => row.Ppl?.Low), ("ppl_high", row => row.Ppl?.High),
            ("ppl_vs_dense", row => row.PplVsDense?.Value), ("ppl_vs_dense_low", row => row.PplVsDense?.Low),
            ("ppl_vs_dense_high", row => row.PplVsDense?.High), ("kl", row => row.Kl?.Value), ("kl_low", row => row.Kl?.Low), ("kl_high", row => row.Kl?.High), ("top1", row => row.Top1),
            ("repeated_share", row => row.RepeatedShare),
            .. tasks.Select(task => ($"accuracy_{task}", (Func<MethodRow, object?>)(row => row.AccuracyByTask.TryGetValue(task, out double value) ? value : null))),
            .. lengths.Select(length => (FormattableString.Invariant($"accuracy_{length}"), (Func<MethodRow, object?>)(row => row.AccuracyByLength.TryGetValue(length, out double value) ? value : null))),
            .. buckets.Select(first => (FormattableString.Invariant($"drift_kl_{first}"), (Func<MethodRow, object?>)(row => row.Drift.FirstOrDefault(b => b.First == first) is { } b ? b.Divergence / b.Tokens : null))),
        ];
        IEnumerable<string> lines = rows.Select(row => string.Join(',', columns.Select(column => FormattableString.Invariant($"{column.Value(row)}"))));
        return string.Join('\n', [string.Join(',', columns.Select(column => column.Name)), .. lines, ""]);
    }
}
