using System.CommandLine;
using System.Globalization;
using System.Reflection;
using System.Text.Json;
using KvPrune.AI.Models;
using KvPrune.AI.Runtimes;
using KvPrune.AI.Runtimes.GenAI.Interop;
using KvPrune.Benchmarks.Measuring;
using KvPrune.OnnxOps;
using Microsoft.ML.OnnxRuntime;
using Spectre.Console;

namespace KvPrune.Benchmarks.Model;

/// <summary>The command line of the whole-model benchmark.</summary>
internal static class ModelCommand
{
    private const int Rounds = 31;
    private const int QuickRounds = 15;
    private const int ChunkTokens = 512;

    private static readonly Option<string> Folder = new("--model", "-m")
    {
        Description = "A model folder in ONNX Runtime GenAI's format. Default: the bundled model.",
        HelpName = "folder",
        DefaultValueFactory = _ => Metadata("BundledModel"),
    };

    private static readonly Option<int[]> Context = new("--context")
    {
        Description = "Tokens of the prompt; several are allowed.",
        AllowMultipleArgumentsPerToken = true,
        DefaultValueFactory = _ => [2048],
    };

    private static readonly Option<string[]> Policy = new("--policy")
    {
        Description = $"Policies to measure: {string.Join(", ", PruningPolicy.Presets.Keys)}. Default: all.",
        AllowMultipleArgumentsPerToken = true,
    };

    private static readonly Option<string[]> Peer = new("--peer")
    {
        Description = "Others to measure beside ONNX Runtime: genai runs the untouched folder, and the policies too, in ONNX Runtime GenAI's generator.",
    };

    private static readonly Option<string?> GenAIFolder = new("--genai-folder")
    {
        Description = "The folder of GenAI's native library. Default: where eng/get-genai.sh puts it.",
        HelpName = "folder",
    };

    private static readonly Option<int> Threads = new("--threads") { Description = "Threads of one run.", DefaultValueFactory = _ => 1 };

    private static readonly Option<bool> Quick = new("--quick") { Description = "Fewer tokens, and by default only the policies exact and compact." };

    private static readonly Option<bool> Json = new("--json") { Description = "Print rows as JSON and nothing else." };

    public static Command Create()
    {
        Context.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int[]>()?.Any(tokens => tokens is < 1 or > 1 << 20) ?? false)
                result.AddError("--context takes 1 to 1048576 tokens.");
        });
        Threads.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is < 1 or > 1024)
                result.AddError("--threads takes 1 to 1024.");
        });
        Policy.AcceptOnlyFromAmong([.. PruningPolicy.Presets.Keys]);
        Peer.AcceptOnlyFromAmong("genai");
        var command = new Command("model", "A whole model, prompt and answer, against the untouched model under ONNX Runtime.")
        {
            Folder, Context, Policy, Peer, GenAIFolder, Threads, Quick, Json,
        };
        command.SetAction(Run);
        return command;
    }

    private static int Run(ParseResult parsed)
    {
        var json = parsed.GetValue(Json);
        var quick = parsed.GetValue(Quick);
        var threads = parsed.GetValue(Threads);
        string[] policies = parsed.GetValue(Policy) is { Length: > 0 } chosen ? chosen : quick ? ["exact", "compact"] : [.. PruningPolicy.Presets.Keys];
        string? genai = parsed.GetValue(Peer) is ["genai", ..] ? parsed.GetValue(GenAIFolder) ?? Metadata("GenAILibraryFolder") : null;
        var rows = new List<ModelRow>();
        try
        {
            var folder = GenAIModelFolder.Load(parsed.GetValue(Folder)!);
            var benchmark = new ModelBenchmark(folder, new CacheFlush(), threads, quick ? QuickRounds : Rounds, ChunkTokens);
            foreach (var context in parsed.GetValue(Context)!)
            {
                if (benchmark.Capacity(context) > folder.ContextLength)
                    throw new InvalidOperationException($"{context} prompt tokens and the answer do not fit the model's context of {folder.ContextLength}.");
                using var contestants = new Contestants(folder, policies, benchmark.Capacity(context), threads, genai);
                rows.AddRange(benchmark.Run(context, contestants.All, text =>
                {
                    if (!json)
                        Console.Error.WriteLine(text);
                }));
            }

            if (json)
                Console.WriteLine(JsonSerializer.Serialize(rows));
            else
                Print(rows, benchmark);
            return 0;
        }
        catch (Exception e) when (e is InvalidOperationException or NotSupportedException or ModelFolderException or ModelRewriteException
            or KvCacheException or OnnxRuntimeException or AI.Runtimes.GenAI.GenAIException or DllNotFoundException)
        {
            Console.Error.WriteLine(e.Message);
            return 1;
        }
    }

    private static void Print(List<ModelRow> rows, ModelBenchmark benchmark)
    {
        var table = new Table().Border(TableBorder.Simple);
        foreach (var column in new[] { "model", "context", "threads", "run as", "prefill s", "× stock", "tokens/s", "× stock", "quartiles", "bytes/dense16", "equal tokens" })
            table.AddColumn(new TableColumn(column).NoWrap().RightAligned());
        foreach (var row in rows)
        {
            table.AddRow(
                row.Shape, Text(row.Context), Text(row.Threads), row.Format, Text(row.PrefillSeconds, "f2"), Text(row.PrefillRatioVsStock, "f2"),
                Text(row.TokensPerSecond, "f1"), Text(row.RatioVsStock, "f2"), $"{Text(row.LowerQuartile, "f2")}-{Text(row.UpperQuartile, "f2")}",
                Text(row.BytesVsDense16, "f3"), Text(row.EqualTokens));
        }

        if (Console.IsOutputRedirected)
            AnsiConsole.Profile.Width = Math.Max(AnsiConsole.Profile.Width, 200);
        AnsiConsole.Write(table);
        AnsiConsole.MarkupLineInterpolated(
            $"Kernels: {KvPruneOps.Kernels}. Decode times are medians of {benchmark.TimeKind}, with the caches flushed before each token; the prompt is read in chunks of {ChunkTokens}. Equal tokens: how long the answer is the stock model's.");
    }

    private static string Metadata(string key) => typeof(ModelCommand).Assembly
        .GetCustomAttributes<AssemblyMetadataAttribute>().Single(entry => entry.Key == key).Value!;

    private static string Text(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    private static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);
}
