using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using KvPrune.AI.Engine;
using Spectre.Console;

namespace LongDocumentChat;

/// <summary>The conversation on the terminal; plain lines where the output is redirected.</summary>
internal sealed class ChatView(IAnsiConsole console)
{
    // Below this the dense tail, which is allocated at its full size, outweighs what pruning saves.
    private const int FewTokens = 512;

    private string? _typed;

    private static bool IsAtTerminal => !Console.IsInputRedirected;

    /// <summary>Begins one of several conversations.</summary>
    public void ShowTitle(string title)
    {
        console.WriteLine();
        console.MarkupLineInterpolated($"[bold underline]{title}[/]");
    }

    /// <summary>Asks, shows how far the document is read, then the answer as it comes. Returns the answer.</summary>
    public async Task<string> AskAsync(DocumentChat chat, string question, CancellationToken cancellationToken)
    {
        var progress = new PrefillProgressRelay();
        var isDocumentUnread = chat.IsDocumentUnread;
        await using var answer = chat.AskAsync(question, progress, cancellationToken).GetAsyncEnumerator(cancellationToken);
        bool hasText;
        try
        {
            hasText = isDocumentUnread ? await ShowReadingAsync(answer, progress) : await answer.MoveNextAsync();
        }
        finally
        {
            // What was typed at the terminal stands there already.
            if (question != _typed)
                console.MarkupLineInterpolated($"[bold]{question}[/]");
        }

        var text = new StringBuilder();
        try
        {
            while (hasText)
            {
                // The model's answers begin with a space.
                var piece = text.Length == 0 ? "  " + answer.Current.TrimStart() : answer.Current;
                // Not through the console's own layout, which would break lines by the width of each piece.
                console.Profile.Out.Writer.Write(piece);
                text.Append(piece);
                hasText = await answer.MoveNextAsync();
            }
        }
        finally
        {
            console.WriteLine();
        }

        return text.ToString().Trim();
    }

    /// <summary>Tells that an answer is not the expected one.</summary>
    public void ShowWrong(string expected) => console.MarkupLineInterpolated($"[red]  wrong, expected: {expected}[/]");

    /// <summary>Questions as the user types them, up to the end of the input or an empty line.</summary>
    public async IAsyncEnumerable<string> ReadQuestionsAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        if (IsAtTerminal)
            console.WriteLine("Ask about the document. An empty line ends the conversation.");
        while (true)
        {
            if (IsAtTerminal)
                console.Write("> ");
            // Reading blocks even in its asynchronous form, so cancellation must not wait for it.
            var line = await Task.Run(Console.In.ReadLine, CancellationToken.None).WaitAsync(cancellationToken);
            if (line is null || (IsAtTerminal && line.Length == 0))
                yield break;
            if (!string.IsNullOrWhiteSpace(line))
                yield return IsAtTerminal ? _typed = line.Trim() : line.Trim();
        }
    }

    /// <summary>What the conversation took so far.</summary>
    public void ShowStatistics(DocumentChat chat)
    {
        if (ChatTotals.Create(chat.Statistics) is { } totals)
        {
            var share = totals.PromptTokens < FewTokens ? "too few tokens to compare"
                : string.Create(CultureInfo.InvariantCulture, $"{totals.KvBytes / (double)totals.KvBytesDense16:P0} of dense 16-bit");
            console.MarkupLineInterpolated(
                CultureInfo.InvariantCulture,
                $"[dim]{totals.PromptTokens:N0} prompt tokens, KV cache {Bytes(totals.KvBytes)} ({share}), read at {totals.PromptTokensPerSecond:N0} tokens/s, answered at {totals.DecodeTokensPerSecond:N0} tokens/s[/]");
        }
    }

    /// <summary>The table at the end.</summary>
    public void ShowComparison(Examination pruned, Examination dense)
    {
        console.WriteLine();
        var table = new Table().AddColumn("").AddColumn(new TableColumn("dense").RightAligned())
            .AddColumn(new TableColumn(Markup.Escape(pruned.Name)).RightAligned());
        AddRow(table, "KV bytes", dense, pruned, e => e.Totals.KvBytes.ToString("N0", CultureInfo.InvariantCulture));
        AddRow(table, "of the dense bytes", dense, pruned, e => Fixed((double)e.Totals.KvBytes / dense.Totals.KvBytes, "F3"));
        AddRow(table, "prompt tokens/s", dense, pruned, e => Fixed(e.Totals.PromptTokensPerSecond, "N0"));
        AddRow(table, "decode tokens/s", dense, pruned, e => Fixed(e.Totals.DecodeTokensPerSecond, "N0"));
        AddRow(table, "right answers", dense, pruned, e => $"{e.Correct} of {e.Questions}");
        console.Write(table);
        console.MarkupLineInterpolated(
            CultureInfo.InvariantCulture,
            $"The last prompt, {pruned.Totals.PromptTokens:N0} tokens, holds the document, all {dense.Questions} questions and the earlier answers.");
    }

    // Until the first piece of the answer is there.
    private async Task<bool> ShowReadingAsync(IAsyncEnumerator<string> answer, PrefillProgressRelay progress) => await console.Progress()
        .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn())
        .StartAsync(async context =>
        {
            var task = context.AddTask("Reading the document");
            progress.Report = read =>
            {
                task.MaxValue = read.TotalTokens;
                task.Value = read.ReadTokens;
            };
            var hasText = await answer.MoveNextAsync();
            progress.Report = null;
            task.Value = task.MaxValue;
            return hasText;
        });

    private static void AddRow(Table table, string name, Examination dense, Examination pruned, Func<Examination, string> cell) =>
        table.AddRow(name, cell(dense), cell(pruned));

    private static string Bytes(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1024.0:N0} KiB");

    private static string Fixed(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
