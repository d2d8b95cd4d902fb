namespace LongDocumentChat.Tests;

public sealed class BadInputTests : IDisposable
{
    private readonly string _file = Path.GetTempFileName();

    public void Dispose() => File.Delete(_file);

    [Theory]
    [InlineData("/no/such/file", "/no/such/file", "--document", "/no/such/file", "--question", "Where?")]
    [InlineData("nonsense", "compact", "--policy", "nonsense")]
    [InlineData("/no/such/folder", "ModelPath", "--model", "/no/such/folder")]
    [InlineData("/no/such/genai", "GenAILibraryFolder", "--runtime", "genai", "--genai-folder", "/no/such/genai")]
    [InlineData("onnxruntime-genai", "Microsoft.ML.OnnxRuntimeGenAI", "--runtime", "genai")]
    public async Task What_cannot_be_used_is_named_in_one_line(string culprit, string hint, params string[] arguments)
    {
        var (exitCode, output, error) = await SampleProcess.RunAsync(arguments);

        Assert.Equal(1, exitCode);
        Assert.Empty(output);
        var line = Assert.Single(error.TrimEnd().Split('\n'));
        Assert.Contains(culprit, line, StringComparison.Ordinal);
        Assert.Contains(hint, line, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_document_longer_than_the_context_is_refused_with_the_numbers()
    {
        await File.WriteAllTextAsync(_file, string.Concat(Enumerable.Repeat("Nobody said a word. ", 3000)), TestContext.Current.CancellationToken);

        var (exitCode, _, error) = await SampleProcess.RunAsync(["--document", _file, "--question", "Where?"]);

        Assert.Equal(1, exitCode);
        Assert.Contains("8,192", Assert.Single(error.TrimEnd().Split('\n')), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_empty_document_is_refused()
    {
        var (exitCode, _, error) = await SampleProcess.RunAsync(["--document", _file, "--question", "Where?"]);

        Assert.Equal(1, exitCode);
        Assert.Contains(_file, Assert.Single(error.TrimEnd().Split('\n')), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Help_names_the_presets_and_no_path_of_this_machine()
    {
        var (exitCode, output, _) = await SampleProcess.RunAsync(["--help"]);

        Assert.Equal(0, exitCode);
        Assert.Contains("near-lossless", output, StringComparison.Ordinal);
        Assert.Contains("the bundled model", output, StringComparison.Ordinal);
        Assert.DoesNotContain(AppContext.BaseDirectory, output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--nonsense")]
    [InlineData("--json", "--question", "Where?")]
    [InlineData("--document")]
    public async Task A_wrong_command_line_is_told_apart_by_its_exit_code(params string[] arguments)
    {
        var (exitCode, output, error) = await SampleProcess.RunAsync(arguments);

        Assert.Equal(2, exitCode);
        Assert.Empty(output);
        Assert.NotEmpty(error);
    }
}
