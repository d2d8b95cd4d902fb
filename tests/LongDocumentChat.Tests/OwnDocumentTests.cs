namespace LongDocumentChat.Tests;

public sealed class OwnDocumentTests : IDisposable
{
    private readonly string _file = Path.GetTempFileName();

    public OwnDocumentTests() => File.WriteAllText(
        _file, "Mara lives in Oslo. The access code of Orion is 7319. Hugo works as a pilot. Nothing else happened that day.");

    public void Dispose() => File.Delete(_file);

    [Fact]
    public async Task Questions_of_the_command_line_are_answered_in_order()
    {
        var (exitCode, output, error) = await SampleProcess.RunAsync(
            ["--document", _file, "--question", "Where does Mara live?", "--question", "What is the access code of Orion?", "--policy", "balanced"]);

        Assert.True(exitCode == 0, error);
        Assert.Matches(@"(?s)Where does Mara live\?\n  Oslo\nWhat is the access code of Orion\?\n  7319\n", output);
    }

    [Fact]
    public async Task Questions_are_read_from_standard_input_up_to_its_end()
    {
        var (exitCode, output, error) = await SampleProcess.RunAsync(
            ["--document", _file], "Where does Mara live?\n\nWhat is the access code of Orion?");

        Assert.True(exitCode == 0, error);
        Assert.Matches(@"(?s)  Oslo\n.*  7319\n", output);
    }

    [Fact]
    public async Task Redirected_output_holds_no_escape_sequences()
    {
        var (_, output, _) = await SampleProcess.RunAsync(["--document", _file, "--question", "Where does Mara live?"]);

        Assert.Contains("Oslo", output, StringComparison.Ordinal);
        Assert.DoesNotContain('\e', output);
        Assert.DoesNotContain('\r', output);
    }
}
