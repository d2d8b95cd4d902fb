using System.CommandLine;
using System.Text.Json;
using KvPrune.Benchmarks.Attention;
using KvPrune.Benchmarks.Model;

namespace KvPrune.Benchmarks.Tests;

/// <summary>The program's commands, as its command line runs them.</summary>
internal static class Commands
{
    // The options are static: one tree serves every test.
    private static readonly RootCommand Root = new() { AttentionCommand.Create(), ModelCommand.Create() };

    public static ParseResult Parse(string arguments) => Root.Parse(arguments);

    /// <summary>The rows of a run with --json.</summary>
    public static JsonElement[] Rows(string arguments)
    {
        var (exit, output, error) = Run(arguments + " --json");
        Assert.True(exit == 0, error);
        return [.. JsonDocument.Parse(output).RootElement.EnumerateArray()];
    }

    /// <summary>The only line that a run which fails has to say.</summary>
    public static string Failure(string arguments)
    {
        var (exit, output, error) = Run(arguments + " --json");
        Assert.NotEqual(0, exit);
        Assert.Empty(output);
        return Assert.Single(error.Split(Environment.NewLine, StringSplitOptions.RemoveEmptyEntries));
    }

    private static (int Exit, string Output, string Error) Run(string arguments)
    {
        var configuration = new InvocationConfiguration { Output = new StringWriter(), Error = new StringWriter() };
        var exit = Parse(arguments).Invoke(configuration);
        return (exit, configuration.Output.ToString()!, configuration.Error.ToString()!);
    }
}
