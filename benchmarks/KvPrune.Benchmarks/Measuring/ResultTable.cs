using Spectre.Console;

namespace KvPrune.Benchmarks.Measuring;

/// <summary>Prints rows for people.</summary>
internal static class ResultTable
{
    // What a redirected table may take: a file has no width to break lines at.
    private const int FileWidth = 240;

    /// <summary>A table of the columns in which any row has something to say.</summary>
    public static void Print<TRow>(IReadOnlyList<TRow> rows, IEnumerable<(string Name, Func<TRow, string> Cell)> columns)
    {
        var table = new Table().Border(TableBorder.Simple);
        var shown = columns.Select(column => (column.Name, Cells: rows.Select(column.Cell).ToArray()))
            .Where(column => column.Cells.Any(cell => cell.Length > 0)).ToArray();
        foreach (var (name, _) in shown)
            table.AddColumn(new TableColumn(name).NoWrap().RightAligned());
        for (var i = 0; i < rows.Count; i++)
            table.AddRow([.. shown.Select(column => Markup.Escape(column.Cells[i]))]);
        if (Console.IsOutputRedirected)
            AnsiConsole.Profile.Width = Math.Max(AnsiConsole.Profile.Width, FileWidth);
        AnsiConsole.Write(table);
    }
}
