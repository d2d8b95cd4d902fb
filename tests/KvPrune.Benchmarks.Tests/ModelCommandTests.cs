namespace KvPrune.Benchmarks.Tests;

public sealed class ModelCommandTests
{
    private const string Tiny = "model --quick --random tiny --precision fp32";

    [Fact]
    public void Over_a_filled_cache_an_exact_answer_is_that_of_the_stock_model()
    {
        var rows = Commands.Rows($"{Tiny} --fill --context 300 --policy exact");

        Assert.Equal(["stock", "exact"], rows.Select(row => row.GetProperty("format").GetString()));
        foreach (var row in rows)
        {
            Assert.Equal("tiny-fp32", row.GetProperty("shape").GetString());
            Assert.Equal(300, row.GetProperty("context").GetInt32());
            Assert.Equal(300 - 64, row.GetProperty("filled").GetInt32());
            Assert.True(row.GetProperty("tokens_per_s").GetDouble() > 0);
            Assert.True(row.GetProperty("ttft_s").GetDouble() > 0);
            Assert.True(row.GetProperty("weights_s").GetDouble() > 0);
            Assert.Equal(rows[0].GetProperty("equal_tokens").GetInt32(), row.GetProperty("equal_tokens").GetInt32());
        }
    }

    [Fact]
    public void Steps_are_compared_with_their_median()
    {
        var rows = Commands.Rows($"{Tiny} --context 128 --steps 8 --policy compact");

        Assert.Equal(["stock", "compact"], rows.Select(row => row.GetProperty("format").GetString()));
        foreach (var row in rows)
        {
            Assert.Equal(8, row.GetProperty("steps").GetInt32());
            Assert.InRange(row.GetProperty("p99_vs_median").GetDouble(), 1, row.GetProperty("max_vs_median").GetDouble());
        }
    }

    [Theory]
    [InlineData("model --random tiny --model there", "Name one model")]
    [InlineData("model --fill --peer genai", "--fill is for ONNX Runtime's own sessions")]
    [InlineData("model --random tiny --layers 3", "tiny has 2 layers, not 3.")]
    [InlineData("model --model nowhere", "the model folder does not exist")]
    [InlineData("model --context 100000", "do not fit the model's context")]
    public void What_cannot_be_measured_is_said(string arguments, string message) =>
        Assert.Contains(message, Commands.Failure(arguments), StringComparison.Ordinal);

    [Theory]
    [InlineData("--context 64", "--context takes 65 to 1048576; 64 is not.")]
    [InlineData("--layers none", "Cannot parse argument 'none' for option '--layers'")]
    [InlineData("--random llama-2b", "'llama-2b' not recognized")]
    public void A_wrong_option_is_named(string arguments, string message) =>
        Assert.Contains(message, Assert.Single(Commands.Parse($"model {arguments}").Errors).Message, StringComparison.Ordinal);
}
