using System.CommandLine;
using System.Security.Cryptography;
using System.Text;
using KvPrune.AI.Engine;
using KvPrune.AI.Models;
using KvPrune.AI.Templates;
using KvPrune.AI.Tokenization;
using KvPrune.Eval.Reports;
using KvPrune.Eval.Results;
using KvPrune.Eval.Running;
using KvPrune.Eval.Tasks;
using KvPrune.OnnxOps;
using Spectre.Console;

namespace KvPrune.Eval.Cli;

/// <summary>The command line. Ends with 0, with 1 after an error, with 130 when it was stopped.</summary>
internal static class EvalCommand
{
    /// <param name="output">Receives results.</param>
    /// <param name="errors">Receives messages.</param>
    /// <param name="progress">Shows progress.</param>
    public static RootCommand Create(TextWriter output, TextWriter errors, IAnsiConsole progress)
    {
        var options = new EvalOptions();
        RootCommand command = options.CreateCommand();
        command.SetAction((parsed, cancellation) =>
            // A task of its own: on Ctrl+C it is the task that the command line waits for, so the call has to return at once.
            Task.Run(() => Run(options, parsed, output, errors, progress, cancellation), CancellationToken.None));
        return command;
    }

    private static int Run(
        EvalOptions options, ParseResult parsed, TextWriter output, TextWriter errors, IAnsiConsole progress, CancellationToken cancellation)
    {
        try
        {
            EvalSettings settings = options.Settings(parsed);
            var text = SourceText.Load(options.Text(parsed));
            using var model = EvalModel.Load(options.Model(parsed), options.Threads(parsed));
            var conditions = new RunConditions(
                model.Identity, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text.Text)))[..8], settings.Seed);
            string folder = options.Output(parsed), journalFile = Path.Combine(folder, ReportFolder.JournalFile);
            if (File.Exists(journalFile) && !options.Resume(parsed))
                throw new ArgumentException($"{folder} holds the results of another run. --resume goes on with it.");
            Evaluation.RequireContext(settings, model.Folder.ContextLength);
            Directory.CreateDirectory(folder);
            using var journal = Journal.Open(journalFile, conditions);
            bool finished = Measure(new Evaluation(model, text, settings, journal), progress, cancellation);

            var counting = TaskCatalogue.Create(text).Where(task => task.CountsWords).Select(task => task.Name).ToHashSet();
            List<MethodRow> rows = new Summary(journal.Measurements, counting).Rows(settings.Methods, settings.Modes);
            ReportFolder.Write(folder, rows, conditions);
            if (options.Json(parsed)) output.WriteLine(RowFormat.Json(rows));
            else output.WriteLine(MarkdownReport.Write(rows, conditions));
            errors.WriteLine(finished
                ? $"Results are in {folder}."
                : $"Stopped; {folder} holds what has been measured. --output {folder} --resume goes on.");
            return finished ? 0 : 130;
        }
        catch (Exception error) when (error is ArgumentException or IOException or InvalidDataException or UnauthorizedAccessException
            or ModelFolderException or ModelRewriteException or TokenizerFormatException or ChatTemplateException or KvCacheException
            or GenerationException or DllNotFoundException)
        {
            errors.WriteLine(error.Message);
            return 1;
        }
    }

    /// <returns>Whether everything is measured.</returns>
    private static bool Measure(Evaluation evaluation, IAnsiConsole console, CancellationToken cancellation)
    {
        List<Evaluation.Step> steps = evaluation.MissingSteps();
        if (steps.Count == 0) return true;
        try
        {
            console.Progress()
                .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn())
                .Start(context =>
                {
                    ProgressTask task = context.AddTask(steps[0].Description, maxValue: steps.Count);
                    foreach (Evaluation.Step step in steps)
                    {
                        cancellation.ThrowIfCancellationRequested();
                        task.Description = step.Description;
                        evaluation.Run(step, description => task.Description = description, cancellation);
                        task.Increment(1);
                    }
                });
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }
}
