using System.CommandLine;
using System.Text.Json;
using KvPrune.Eval.Cli;
using Spectre.Console;

namespace KvPrune.Eval.Tests.Cli;

public sealed class EvalCommandTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly StringWriter _output = new();
    private readonly StringWriter _errors = new();

    [Fact]
    public void A_run_that_goes_on_later_has_the_results_of_one_run()
    {
        string whole = _folder.File("whole"), parts = _folder.File("parts");
        string[] small = ["--methods", "token-kv70", "--lengths", "256", "--drift-tokens", "40"];
        string[] all = [.. small, "--samples", "2", "--tasks", "multi-key", "variables-1-hop", "common-words", "perplexity", "drift"];
        Assert.Equal(0, Run([.. all, "-o", whole]));
        Assert.Equal(0, Run([.. small, "--samples", "1", "--tasks", "multi-key", "perplexity", "-o", parts]));
        // As if it had been killed while it wrote.
        string journal = Path.Combine(parts, "samples.jsonl");
        File.WriteAllText(journal, File.ReadAllText(journal)[..^30]);
        Assert.Equal(0, Run([.. all, "-o", parts, "--resume"]));

        AssertSameRows(File.ReadAllText(Path.Combine(whole, "results.json")), File.ReadAllText(Path.Combine(parts, "results.json")));
        foreach (string file in (string[])["report.md", "results.csv", "accuracy-aware.png", "accuracy-agnostic.png", "accuracy-second.png", "kl.png"])
            Assert.True(File.Exists(Path.Combine(parts, file)), file);

        // Nothing is left to do.
        int lines = File.ReadAllLines(journal).Length;
        Assert.Equal(0, Run([.. all, "-o", parts, "--resume"]));
        Assert.Equal(lines, File.ReadAllLines(journal).Length);
    }

    [Fact]
    public void Json_has_a_row_for_each_method_and_mode()
    {
        Assert.Equal(0, Run("--methods", "int8", "--tasks", "multi-key", "--lengths", "256", "--samples", "1", "--json", "-o", _folder.File("run")));
        using JsonDocument json = JsonDocument.Parse(_output.ToString());
        JsonElement[] rows = [.. json.RootElement.EnumerateArray()];
        Assert.Equal(
            ["aware/dense", "aware/int8", "agnostic/dense", "agnostic/int8", "second/dense", "second/int8"],
            rows.Select(row => $"{row.GetProperty("mode")}/{row.GetProperty("method")}"));
        JsonElement eightBit = rows[1];
        Assert.InRange(eightBit.GetProperty("sealed_bytes_vs_dense16").GetDouble(), 0.5, 0.55);
        Assert.InRange(eightBit.GetProperty("bytes_vs_dense16").GetDouble(), 0.5, 1);
        Assert.Equal(1, eightBit.GetProperty("samples").GetInt32());
        Assert.True(eightBit.GetProperty("accuracy_by_task").TryGetProperty("multi-key", out _));
        foreach (string property in (string[])["ppl", "kl", "top1"]) Assert.Equal(JsonValueKind.Null, eightBit.GetProperty(property).ValueKind);
    }

    [Theory]
    [InlineData("No method or family is called 'int7'", "--methods", "int7")]
    [InlineData("does not exist", "--model", "nowhere")]
    [InlineData("Prompts of 8100 tokens do not fit: the model's context is 8192", "--lengths", "256", "8100")]
    [InlineData("A continuation of 8000 tokens does not fit", "--drift-tokens", "8000")]
    [InlineData("40 are too few", "--lengths", "40", "--tasks", "multi-key")]
    [InlineData("--samples has to be at least 1", "--samples", "0")]
    [InlineData("--threads has to be at least 1", "--threads", "-1")]
    [InlineData("--lengths takes numbers of tokens", "--lengths", "0")]
    [InlineData("'multi-keys' not recognized", "--tasks", "multi-keys")]
    [InlineData("nowhere.txt", "--text", "nowhere.txt")]
    [InlineData("--resume needs --output", "--resume")]
    public void Bad_input_ends_with_1_and_says_what_is_wrong(string message, params string[] arguments)
    {
        string[] output = arguments.Contains("--resume") ? [] : ["-o", _folder.File("run")];
        Assert.Equal(1, Run([.. arguments, .. output]));
        Assert.Contains(message, _errors.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", _errors.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void The_folder_of_another_run_is_not_written_into()
    {
        string[] small = ["--methods", "dense", "--tasks", "single-needle", "--mode", "aware", "--lengths", "256", "--samples", "1", "-o", _folder.File("run")];
        Assert.Equal(0, Run(small));
        Assert.Equal(1, Run(small));
        Assert.Contains("--resume goes on with it", _errors.ToString(), StringComparison.Ordinal);
        Assert.Equal(1, Run([.. small, "--resume", "--seed", "7"]));
        Assert.Contains("other conditions", _errors.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_run_that_is_cancelled_keeps_what_it_has_and_says_how_to_go_on()
    {
        string folder = _folder.File("run"), journal = Path.Combine(folder, "samples.jsonl");
        using var stop = new CancellationTokenSource();
        Task<int> run = Command().Parse(["--methods", "int8", "--lengths", "256", "--samples", "1000", "--mode", "aware", "-o", folder])
            .InvokeAsync(new() { Output = _output, Error = _errors }, stop.Token);
        while (!run.IsCompleted && !(File.Exists(journal) && new FileInfo(journal).Length > 1000)) await Task.Delay(50, TestContext.Current.CancellationToken);
        await stop.CancelAsync();
        Assert.Equal(130, await run);
        Assert.Contains("--resume goes on", _errors.ToString(), StringComparison.Ordinal);
        Assert.True(File.Exists(Path.Combine(folder, "report.md")));
        Assert.EndsWith("}\n", await File.ReadAllTextAsync(journal, TestContext.Current.CancellationToken), StringComparison.Ordinal);
    }

    [Fact]
    public void Help_names_options_and_methods()
    {
        Assert.Equal(0, Run("--help"));
        foreach (string part in (string[])["--methods", "--resume", "think-k40", "--quick"]) Assert.Contains(part, _output.ToString(), StringComparison.Ordinal);
    }

    public void Dispose()
    {
        _output.Dispose();
        _errors.Dispose();
        _folder.Dispose();
    }

    // Equal but for the last digits: a batch of another size may be summed in another order.
    private static void AssertSameRows(string expected, string actual)
    {
        using JsonDocument a = JsonDocument.Parse(expected), b = JsonDocument.Parse(actual);
        AssertSame(a.RootElement, b.RootElement);
    }

    private static void AssertSame(JsonElement expected, JsonElement actual)
    {
        Assert.Equal(expected.ValueKind, actual.ValueKind);
        switch (expected.ValueKind)
        {
            case JsonValueKind.Object:
                Assert.Equal(expected.EnumerateObject().Select(p => p.Name), actual.EnumerateObject().Select(p => p.Name));
                foreach (JsonProperty property in expected.EnumerateObject()) AssertSame(property.Value, actual.GetProperty(property.Name));
                break;
            case JsonValueKind.Array:
                Assert.Equal(expected.GetArrayLength(), actual.GetArrayLength());
                foreach ((JsonElement first, JsonElement second) in expected.EnumerateArray().Zip(actual.EnumerateArray())) AssertSame(first, second);
                break;
            case JsonValueKind.Number:
                Assert.Equal(expected.GetDouble(), actual.GetDouble(), 1e-5 * Math.Max(1, Math.Abs(expected.GetDouble())));
                break;
            default:
                Assert.Equal(expected.ToString(), actual.ToString());
                break;
        }
    }

    private int Run(params string[] arguments) => Command().Parse(arguments).Invoke(new() { Output = _output, Error = _errors });

    private RootCommand Command() => EvalCommand.Create(
        _output, _errors, AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(TextWriter.Null) }));
}
