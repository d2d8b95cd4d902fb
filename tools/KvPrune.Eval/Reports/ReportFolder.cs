using KvPrune.Eval.Results;

namespace KvPrune.Eval.Reports;

/// <summary>The folder that a run leaves.</summary>
internal static class ReportFolder
{
    /// <summary>The journal's file.</summary>
    public const string JournalFile = "samples.jsonl";

    public static void Write(string folder, IReadOnlyList<MethodRow> rows, RunConditions conditions)
    {
        List<string> plots = Plots.Write(rows, folder);
        string report = MarkdownReport.Write(rows, conditions) + string.Concat(plots.Select(plot => $"\n![{Path.GetFileNameWithoutExtension(plot)}]({plot})\n"));
        File.WriteAllText(Path.Combine(folder, "report.md"), report);
        File.WriteAllText(Path.Combine(folder, "results.csv"), RowFormat.Csv(rows));
        File.WriteAllText(Path.Combine(folder, "results.json"), RowFormat.Json(rows));
    }
}
