using System.CommandLine;
using System.Reflection;
using KvPrune.Eval.Methods;
using KvPrune.Eval.Results;
using KvPrune.Eval.Running;
using KvPrune.Eval.Tasks;

namespace KvPrune.Eval.Cli;

/// <summary>The options of the command line and what they mean together.</summary>
internal sealed class EvalOptions
{
    private static readonly string[] TaskNames = [.. TaskCatalogue.Names, TextMeasurement.TaskName, DriftMeasurement.TaskName];

    private readonly Option<string> _model = new("--model", "-m")
    {
        Description = "A model folder in ONNX Runtime GenAI's format. Default: the bundled model.",
        HelpName = "folder",
        DefaultValueFactory = _ => Metadata("BundledModel"),
    };

    private readonly Option<string[]> _methods = new("--methods")
    {
        Description = "Names of methods or of families. Default: all, with --quick one or two of a kind: " + string.Join(", ", MethodCatalogue.All.Select(method => method.Name))
            + $". {MethodCatalogue.Baseline.Name} always takes part.",
        HelpName = "name",
        AllowMultipleArgumentsPerToken = true,
    };

    private readonly Option<string[]> _tasks = new("--tasks")
    {
        Description = "What to measure. Default: all.",
        AllowMultipleArgumentsPerToken = true,
        DefaultValueFactory = _ => TaskNames,
    };

    private readonly Option<AskMode[]> _modes = new("--mode")
    {
        Description = "Where the question stands: in the compressed prompt (aware), after the compressed document (agnostic), after the answer to "
            + "another one (second). Default: all; with --quick aware.",
        AllowMultipleArgumentsPerToken = true,
    };

    private readonly Option<int[]> _lengths = new("--lengths")
    {
        Description = "Tokens of the prompts. Default: 256 512 1024 2048; with --quick 256 1024.",
        HelpName = "tokens",
        AllowMultipleArgumentsPerToken = true,
    };

    private readonly Option<int?> _samples = new("--samples") 
    {
        Description = "Samples of each task and length. Default: 100; with --quick 6.",
        HelpName = "number",
    };

    private readonly Option<int?> _driftTokens = new("--drift-tokens")
    {
        Description = "Tokens of the long continuations that drift is measured on. Default: up to the model's context; with --quick 256.",
        HelpName = "tokens",
    };

    private readonly Option<int> _seed = new("--seed")
    {
        Description = "Other seeds make other documents.",
        HelpName = "number",
        DefaultValueFactory = _ => 1,
    };

    private readonly Option<string?> _text = new("--text")
    {
        Description = "A natural text, UTF-8, to put around facts and to measure perplexity on. Default: the bundled part of WikiText-2.",
        HelpName = "file",
    };

    private readonly Option<int?> _threads = new("--threads")
    {
        Description = "Threads of one run of the model. Default: one for each physical core.",
        HelpName = "number",
    };

    private readonly Option<string?> _output = new("--output", "-o")
    {
        Description = "The folder for report.md, results.csv, results.json, plots and samples.jsonl. Default: a new one under eval-results.",
        HelpName = "folder",
    };

    private readonly Option<bool> _resume = new("--resume") 
    {
        Description = "Go on with the run whose results are in --output: what it has measured is not measured again. Methods, tasks, lengths and "
            + "samples may be more than then.",
    };

    private readonly Option<bool> _quick = new("--quick") { Description = "A first look in a few minutes: fewer samples and tokens." };

    private readonly Option<bool> _json = new("--json") { Description = "Print the rows as JSON and nothing else." };

    public RootCommand CreateCommand()
    {
        _tasks.AcceptOnlyFromAmong(TaskNames);
        _lengths.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0 && result.GetValueOrDefault<int[]>()!.Any(length => length < 1)) result.AddError("--lengths takes numbers of tokens, at least 1.");
        });
        RequirePositive(_samples);
        RequirePositive(_driftTokens);
        RequirePositive(_threads);
        var command = new RootCommand(
            "Measures what pruning the KV cache costs: right answers, perplexity, distance from the unpruned model and drift, against measured bytes.")
        {
            _model, _methods, _tasks, _modes, _lengths, _samples, _driftTokens, _seed, _text, _threads, _output, _resume, _quick, _json,
        };
        command.Validators.Add(result =>
        {
            if (result.GetValue(_resume) && result.GetValue(_output) is null) result.AddError("--resume needs --output: the folder of the run to go on with.");
        });
        return command;
    }

    public string Model(ParseResult parsed) => parsed.GetValue(_model)!;

    public int? Threads(ParseResult parsed) => parsed.GetValue(_threads);

    public bool Json(ParseResult parsed) => parsed.GetValue(_json);

    public bool Resume(ParseResult parsed) => parsed.GetValue(_resume);

    public string Text(ParseResult parsed) =>
        parsed.GetValue(_text) ?? Path.Combine(AppContext.BaseDirectory, "Data", "wikitext-2-test.txt");

    public string Output(ParseResult parsed) =>
        parsed.GetValue(_output) ?? Path.Combine("eval-results", DateTime.Now.ToString("yyyyMMdd-HHmmss", System.Globalization.CultureInfo.InvariantCulture));

    /// <exception cref="ArgumentException">There is no such method.</exception>
    public EvalSettings Settings(ParseResult parsed)
    {
        bool quick = parsed.GetValue(_quick);
        return new EvalSettings
        {
            Methods = MethodCatalogue.Select(parsed.GetValue(_methods) is { Length: > 0 } methods ? methods : quick ? MethodCatalogue.Quick : []),
            Tasks = parsed.GetValue(_tasks)!,
            Lengths = parsed.GetValue(_lengths) is { Length: > 0 } lengths ? [.. lengths.Distinct().Order()] : quick ? [256, 1024] : [256, 512, 1024, 2048],
            Samples = parsed.GetValue(_samples) ?? (quick ? 6 : 100),
            DriftSamples = quick ? 1 : 2,
            DriftTokens = parsed.GetValue(_driftTokens) ?? (quick ? 256 : null),
            Modes = parsed.GetValue(_modes) is { Length: > 0 } modes ? [.. modes.Distinct().Order()] : quick ? [AskMode.Aware] : Enum.GetValues<AskMode>(),
            Seed = parsed.GetValue(_seed),
        };
    }

    private static void RequirePositive(Option<int?> option) => option.Validators.Add(result =>
    {
        if (result.Tokens.Count > 0 && result.GetValueOrDefault<int?>() is < 1) result.AddError($"{option.Name} has to be at least 1.");
    });

    private static string Metadata(string key) => typeof(EvalOptions).Assembly
        .GetCustomAttributes<AssemblyMetadataAttribute>().Single(attribute => attribute.Key == key).Value!;
}
