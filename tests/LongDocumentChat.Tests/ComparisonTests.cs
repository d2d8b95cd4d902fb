using System.Text.Json;

namespace LongDocumentChat.Tests;

public class ComparisonTests
{
    [Fact]
    public async Task The_pruned_cache_keeps_the_answers_at_little_more_than_a_third_of_the_bytes()
    {
        var (exitCode, output, error) = await SampleProcess.RunAsync(["--json"]);

        Assert.True(exitCode == 0, error);
        var report = JsonDocument.Parse(output).RootElement;
        Assert.Equal(
            ["questions", "correct", "correct_dense", "kv_bytes", "kv_bytes_dense", "prompt_tokens", "decode_tokens_per_second", "decode_tokens_per_second_dense"],
            report.EnumerateObject().Select(property => property.Name));
        Assert.InRange(report.GetProperty("prompt_tokens").GetInt32(), 4000, 8192);
        var questions = report.GetProperty("questions").GetInt32();
        Assert.InRange(questions, 8, 12);
        Assert.Equal(questions, report.GetProperty("correct_dense").GetInt32());
        Assert.Equal(questions, report.GetProperty("correct").GetInt32());
        var bytes = report.GetProperty("kv_bytes").GetInt64() / (double)report.GetProperty("kv_bytes_dense").GetInt64();
        Assert.InRange(bytes, 0.2, 0.36);
        Assert.True(report.GetProperty("decode_tokens_per_second").GetDouble() > 0);
        Assert.True(report.GetProperty("decode_tokens_per_second_dense").GetDouble() > 0);
    }
}
