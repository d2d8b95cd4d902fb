using System.CommandLine;
using System.Reflection;
using System.Text.Json;
using KvPrune.AI.Models;
using KvPrune.AI.Runtimes.GenAI;
using KvPrune.Benchmarks.Measuring;
using KvPrune.ModelBuilder;
using KvPrune.OnnxOps;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.Benchmarks.Model;

/// <summary>The command line of the whole-model benchmark.</summary>
internal static class ModelCommand
{
    private const int Rounds = 31;
    private const int QuickRounds = 11;
    private const int ChunkTokens = 512;
    private const string QuickShape = "llama-1b";
    private const int QuickLayers = 4;

    // Read over a filled past: a short question.
    private const int QuestionTokens = 64;

    private static readonly Option<string?> Folder = new("--model", "-m")
    {
        Description = "A model folder in ONNX Runtime GenAI's format. Default: the bundled model.",
        HelpName = "folder",
    };

    private static readonly Option<string?> Random = new("--random")
    {
        Description = "Or a model of this shape with random weights, built in a temporary folder.",
        HelpName = string.Join('|', ModelShapes.Named.Keys),
    };

    private static readonly Option<string> Precision = new("--precision")
    {
        Description = "With --random: precision of the weights.",
        DefaultValueFactory = _ => "int4",
    };

    private static readonly Option<int?> Layers = new("--layers")
    {
        Description = "With --random: only so many layers, and the vocabulary in the same measure, so that the parts of a token's time keep their shares.",
    };

    private static readonly Option<int[]> Context = new("--context")
    {
        Description = "Tokens before the answer; several are allowed. Default: 2048.",
        AllowMultipleArgumentsPerToken = true,
    };

    private static readonly Option<bool> Fill = new("--fill")
    {
        Description = $"Fill the cache with random rows; only the last {QuestionTokens} tokens of the context are read.",
    };

    private static readonly Option<int?> Steps = new("--steps")
    {
        Description = "Instead of speed: how even so many decode steps in a row are.",
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

    private static readonly Option<bool> Quick = new("--quick")
    {
        Description = $"About two minutes: fewer tokens, by default only the policies exact and compact, of {QuickLayers} layers of {QuickShape}, filled to 8192 and 32768 tokens.",
    };

    private static readonly Option<bool> Json = new("--json") { Description = "Print rows as JSON and nothing else." };

    public static Command Create()
    {
        Context.Between(QuestionTokens + 1, 1 << 20);
        Threads.Between(1, 1024);
        Layers.Between(1, 1024);
        Steps.Between(2, 1 << 20);
        Policy.AcceptOnlyFromAmong([.. PruningPolicy.Presets.Keys]);
        Random.AcceptOnlyFromAmong([.. ModelShapes.Named.Keys]);
        Precision.AcceptOnlyFromAmong([.. RandomModelFolder.Precisions.Keys]);
        Peer.AcceptOnlyFromAmong("genai");
        var command = new Command("model", "A whole model, prompt and answer, against the untouched model under ONNX Runtime.")
        {
            Folder, Random, Precision, Layers, Context, Fill, Steps, Policy, Peer, GenAIFolder, Threads, Quick, Json,
        };
        command.SetAction(Run);
        return command;
    }

    private static int Run(ParseResult parsed)
    {
        try
        {
            var quick = parsed.GetValue(Quick) && parsed.GetValue(Folder) is null && parsed.GetValue(Random) is null;
            var fill = parsed.GetValue(Fill) || (quick && parsed.GetValue(Peer) is not { Length: > 0 });
            if (parsed.GetValue(Folder) is not null && parsed.GetValue(Random) is not null)
                throw new InvalidOperationException("Name one model: either --model or --random.");
            if (fill && parsed.GetValue(Peer) is { Length: > 0 })
                throw new InvalidOperationException("--fill is for ONNX Runtime's own sessions; GenAI's generator reads its prompt.");
            int[] contexts = parsed.GetValue(Context) is { Length: > 0 } given ? given : quick ? [8192, 32_768] : [2048];
            var shape = quick ? QuickShape : parsed.GetValue(Random);
            if (shape is null)
                return Measure(parsed, parsed.GetValue(Folder) ?? Metadata("BundledModel"), contexts, fill);
            Report(parsed, $"building {shape} ...");
            // Room for the answer.
            var longest = contexts.Max() + Math.Max(parsed.GetValue(Steps) ?? 0, Rounds) + ChunkTokens;
            var layers = parsed.GetValue(Layers) ?? (quick ? QuickLayers : null);
            using var built = new RandomModelFolder(shape, layers, parsed.GetValue(Precision)!, longest);
            return Measure(parsed, built.Path, contexts, fill);
        }
        catch (Exception e) when (e is InvalidOperationException or NotSupportedException or ArgumentException or IOException
            or ModelFolderException or ModelRewriteException or KvCacheException or OnnxRuntimeException or GenAIException or DllNotFoundException)
        {
            parsed.InvocationConfiguration.Error.WriteLine(e.Message);
            return 1;
        }
    }

    private static int Measure(ParseResult parsed, string path, int[] contexts, bool fill)
    {
        var quick = parsed.GetValue(Quick);
        var threads = parsed.GetValue(Threads);
        string[] policies = parsed.GetValue(Policy) is { Length: > 0 } chosen ? chosen : quick ? ["exact", "compact"] : [.. PruningPolicy.Presets.Keys];
        string? genai = parsed.GetValue(Peer) is ["genai", ..] ? parsed.GetValue(GenAIFolder) ?? Metadata("GenAILibraryFolder") : null;
        var folder = GenAIModelFolder.Load(path);
        var flush = new CacheFlush();
        var benchmark = new ModelBenchmark(folder, flush, threads, quick ? QuickRounds : Rounds, ChunkTokens, text => Report(parsed, text));
        var steps = parsed.GetValue(Steps);
        var rows = new List<ModelRow>();
        var stepsRows = new List<StepsRow>();
        foreach (var context in contexts)
        {
            var capacity = benchmark.Capacity(context) + (steps ?? 0);
            if (capacity > folder.ContextLength)
                throw new InvalidOperationException($"{context} tokens and the answer do not fit the model's context of {folder.ContextLength}.");
            using var contestants = new Contestants(folder, policies, capacity, threads, genai);
            var prompt = benchmark.Prompt(fill ? QuestionTokens : context);
            var past = fill ? new FilledRows(folder, context - prompt.Length) : null;
            if (steps is { } count)
                stepsRows.AddRange(benchmark.RunSteps(prompt, past, contestants.All, count));
            else
                rows.AddRange(benchmark.Run(prompt, past, contestants.All));
        }

        if (parsed.GetValue(Json))
        {
            parsed.InvocationConfiguration.Output.WriteLine(steps is null ? JsonSerializer.Serialize(rows) : JsonSerializer.Serialize(stepsRows));
        }
        else if (steps is not null)
        {
            ModelTables.Print(stepsRows);
            parsed.InvocationConfiguration.Output.WriteLine($"Kernels: {KvPruneOps.Kernels}. Times are {benchmark.TimeKind}; nothing runs between the steps.");
        }
        else
        {
            ModelTables.Print(rows);
            parsed.InvocationConfiguration.Output.WriteLine(FormattableString.Invariant(
                $"Kernels: {KvPruneOps.Kernels}. Decode times are medians of {benchmark.TimeKind}, with the caches flushed before each token; the prompt is read in chunks of {ChunkTokens}. Roofline: the ratio if attention only took reading the cache once, at {flush.OneThreadBandwidth / 1e9:f1} GB/s with one thread or {flush.AllThreadsBandwidth / 1e9:f1} with {Environment.ProcessorCount}. Equal tokens: how long the answer is the stock model's."));
        }

        return 0;
    }

    private static void Report(ParseResult parsed, string text)
    {
        if (!parsed.GetValue(Json))
            parsed.InvocationConfiguration.Error.WriteLine(text);
    }

    private static string Metadata(string key) => typeof(ModelCommand).Assembly
        .GetCustomAttributes<AssemblyMetadataAttribute>().Single(entry => entry.Key == key).Value!;
}
