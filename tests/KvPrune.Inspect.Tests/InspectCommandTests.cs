using System.Reflection;
using System.Text.Json;

namespace KvPrune.Inspect.Tests;

public sealed class InspectCommandTests : IDisposable
{
    private static readonly string Bundled = typeof(InspectCommandTests).Assembly
        .GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "BundledModel").Value!;

    private readonly StringWriter _output = new();
    private readonly StringWriter _errors = new();

    [Fact]
    public void A_good_folder_is_described()
    {
        Assert.Equal(0, Run(Bundled));
        string text = _output.ToString();
        foreach (string part in (string[])["llama", "8,192 tokens", "5 layers", "near-lossless", "compact", "Nothing stands in the way"])
            Assert.Contains(part, text, StringComparison.Ordinal);
    }

    [Fact]
    public void Json_holds_bytes_and_obstacles()
    {
        Assert.Equal(0, Run(Bundled, "--json"));
        using JsonDocument json = JsonDocument.Parse(_output.ToString());
        JsonElement bytes = json.RootElement.GetProperty("kvBytesPer1000Tokens");
        Assert.True(bytes.GetProperty("compact").GetInt64() < 0.35 * json.RootElement.GetProperty("denseKvBytesPer1000Tokens").GetInt64());
        Assert.Equal(0, json.RootElement.GetProperty("obstacles").GetArrayLength());
    }

    [Fact]
    public void A_folder_that_cannot_be_run_ends_with_1_and_the_reasons()
    {
        string folder = Directory.CreateTempSubdirectory("kvprune-").FullName;
        try
        {
            foreach (string file in Directory.EnumerateFiles(Bundled).Where(file => !file.EndsWith("tokenizer.json", StringComparison.Ordinal)))
                File.CreateSymbolicLink(Path.Combine(folder, Path.GetFileName(file)), file);
            Assert.Equal(1, Run(folder));
            Assert.Contains("- tokenizer: ", _output.ToString(), StringComparison.Ordinal);
            Assert.DoesNotContain("GenAI", _output.ToString(), StringComparison.Ordinal); // it needs the file too
            File.WriteAllText(Path.Combine(folder, "tokenizer.json"), """{"model":{"type":"Unigram"}}""");
            Assert.Equal(1, Run(folder));
            Assert.Contains("GenAI", _output.ToString(), StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void Help_and_usage_errors_are_told()
    {
        Assert.Equal(0, Run("--help"));
        Assert.Contains("--json", _output.ToString(), StringComparison.Ordinal);
        Assert.Equal(1, Run(""));
        Assert.Equal(1, Run());
        Assert.NotEmpty(_errors.ToString());
    }

    public void Dispose()
    {
        _output.Dispose();
        _errors.Dispose();
    }

    private int Run(params string[] arguments) => InspectCommand.Create(_output, _errors).Parse(arguments)
        .Invoke(new() { Output = _output, Error = _errors });
}
