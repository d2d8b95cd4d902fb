using KvPrune.ModelBuilder.Cli;
using Spectre.Console;

namespace KvPrune.ModelBuilder.Tests.Cli;

public sealed class BuildCommandTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly StringWriter _output = new();
    private readonly StringWriter _errors = new();

    [Fact]
    public void Builds_a_random_model_of_the_sizes_named()
    {
        Assert.Equal(
            0,
            Run(_folder["m"], "--random", "tiny", "--heads", "6/2/96", "--layers", "3", "--hidden", "64", "--seed", "4", "--precision", "int4"));

        RandomModel.Build(
            _folder["same"], ModelShapes.Tiny.WithHeads(6, 2, 96) with { Layers = 3, Hidden = 64 }, seed: 4,
            new BuildOptions { Precision = WeightPrecision.Int4 });
        Assert.Equal(File.ReadAllBytes(Path.Combine(_folder["same"], "model.onnx.data")), File.ReadAllBytes(Path.Combine(_folder["m"], "model.onnx.data")));
        Assert.Contains("Wrote", _output.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("tiny-phi3", "int4-fp16", "128", "outer-rotary", WeightPrecision.Int4Fp16, AttentionLayout.OuterRotary)]
    [InlineData("tiny-gemma2", "fp16", "32", "separate", WeightPrecision.Fp16, AttentionLayout.Separate)]
    public void Passes_the_form_of_the_graph_on(
        string shape, string precision, string block, string attention, WeightPrecision expected, AttentionLayout layout)
    {
        Assert.Equal(0, Run(_folder["m"], "--random", shape, "--precision", precision, "--block", block, "--attention", attention));

        RandomModel.Build(_folder["same"], ModelShapes.Named[shape], seed: 1, new BuildOptions
        {
            Precision = expected, BlockSize = int.Parse(block), Attention = layout,
        });
        foreach (var file in (string[])["model.onnx", "model.onnx.data", "genai_config.json"])
            Assert.Equal(File.ReadAllBytes(Path.Combine(_folder["same"], file)), File.ReadAllBytes(Path.Combine(_folder["m"], file)));
    }

    [Fact]
    public void Help_names_every_option()
    {
        Assert.Equal(0, Run("--help"));

        foreach (var option in (string[])["--model", "--random", "--precision", "--seed", "--heads", "--overwrite", "--block", "--attention", "llama-1b"])
            Assert.Contains(option, _output.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("either --model FOLDER or --random SHAPE")]
    [InlineData("either --model FOLDER or --random SHAPE", "--random", "tiny", "--model", "x")]
    [InlineData("tiny, llama-1b", "--random", "huge")]
    [InlineData("6/2/96", "--random", "tiny", "--heads", "6x2")]
    [InlineData("--layers goes with --random", "--model", "x", "--layers", "2")]
    [InlineData("int8", "--random", "tiny", "--precision", "int8")]
    [InlineData("QueryHeads 3", "--random", "tiny", "--heads", "3/2/64")]
    [InlineData("no-such-folder", "--model", "no-such-folder")]
    [InlineData("BlockSize is 64", "--random", "tiny", "--block", "64")]
    [InlineData("KvHeads (2)", "--random", "tiny", "--attention", "multi-head")]
    public void Says_what_is_wrong_on_the_error_stream(string expected, params string[] arguments)
    {
        Assert.Equal(1, Run([_folder["m"], .. arguments]));

        Assert.Contains(expected, _errors.ToString(), StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    // Deep enough to be far from its end when it is stopped.
    [Fact]
    public async Task Stopping_a_build_leaves_nothing_behind()
    {
        using var stop = new CancellationTokenSource();
        var build = BuildCommand.Create(Console(_output), Console(_errors))
            .Parse([_folder["m"], "--random", "tiny", "--layers", "2000"])
            .InvokeAsync(new() { Output = _output, Error = _errors }, stop.Token);
        Assert.False(build.IsCompleted);
        while (!build.IsCompleted && Directory.GetFileSystemEntries(_folder.Path).Length == 0)
            await Task.Delay(5, TestContext.Current.CancellationToken);

        await stop.CancelAsync();

        Assert.Equal(130, await build);
        Assert.Contains("nothing was written", _errors.ToString(), StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    private int Run(params string[] arguments) => BuildCommand.Create(Console(_output), Console(_errors)).Parse(arguments)
        .Invoke(new() { Output = _output, Error = _errors });

    private static IAnsiConsole Console(StringWriter writer) => AnsiConsole.Create(new AnsiConsoleSettings
    {
        Ansi = AnsiSupport.No, Interactive = InteractionSupport.No, Out = new AnsiConsoleOutput(writer),
    });

    public void Dispose()
    {
        _folder.Dispose();
        _output.Dispose();
        _errors.Dispose();
    }
}
