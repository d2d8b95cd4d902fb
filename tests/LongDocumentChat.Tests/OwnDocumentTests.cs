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

    // A question on its own that is longer than the model's context.
    private static string TooLong => string.Concat(Enumerable.Repeat("Nobody said a word. ", 3000));

    [Fact]
    public async Task A_typed_question_that_fails_does_not_end_the_chat()
    {
        var (exitCode, output, error) = await SampleProcess.RunAsync(
            ["--document", _file], $"{TooLong}\nWhere does Mara live?\n{TooLong}\nWhat is the access code of Orion?");

        Assert.Equal(1, exitCode);
        Assert.Matches(@"(?s)  Oslo\n.*  7319\n", output);
        Assert.Equal(2, error.TrimEnd().Split('\n').Count(line => line.Contains("8,192", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task A_question_of_the_command_line_that_fails_lets_the_others_be_answered()
    {
        var (exitCode, output, error) = await SampleProcess.RunAsync(
            ["--document", _file, "--question", "Where does Mara live?", "--question", TooLong, "--question", "What is the access code of Orion?"]);

        Assert.Equal(1, exitCode);
        Assert.Matches(@"(?s)Where does Mara live\?\n  Oslo\n.*What is the access code of Orion\?\n  7319\n", output);
        Assert.Contains("8,192", Assert.Single(error.TrimEnd().Split('\n')), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_short_conversation_is_not_compared_with_a_dense_cache()
    {
        var (_, output, _) = await SampleProcess.RunAsync(["--document", _file, "--question", "Where does Mara live?"]);

        Assert.Matches(@"KV cache [0-9,]+ KiB \(too few tokens to compare\)", output);
        Assert.DoesNotContain('%', output[output.IndexOf("Oslo", StringComparison.Ordinal)..]);
    }

    [Fact]
    public async Task A_longer_conversation_is_compared_with_a_dense_cache()
    {
        await File.AppendAllTextAsync(
            _file, string.Concat(Enumerable.Repeat(" Nobody said a word.", 300)), TestContext.Current.CancellationToken);
        var (_, output, _) = await SampleProcess.RunAsync(["--document", _file, "--question", "Where does Mara live?"]);

        Assert.Matches(@"KV cache [0-9,]+ KiB \([0-9]{2} ?% of dense 16-bit\)", output);
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
