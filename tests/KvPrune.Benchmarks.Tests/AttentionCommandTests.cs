namespace KvPrune.Benchmarks.Tests;

// Runs that choose kernels do so for the whole process: one class, so that they run one after the other.
public sealed class AttentionCommandTests
{
    private static readonly string[] Decode =
    [
        "bench", "shape", "context", "threads", "batch", "format", "kernels", "ratio_vs_stock", "ratio_spread", "reach",
        "bytes_vs_dense16", "gbps", "read_gbps_one_thread", "read_gbps_all_threads",
    ];

    [Fact]
    public void A_decode_row_is_one_of_a_batch_and_of_a_format()
    {
        var rows = Commands.Rows("attention --quick --shape 4/2/64 --context 256 --batch 1 3 --format think-int8-40 --kernels scalar");

        Assert.Equal([1, 3], rows.Select(row => row.GetProperty("batch").GetInt32()));
        foreach (var row in rows)
        {
            Assert.Equal(Decode, row.EnumerateObject().Select(property => property.Name));
            Assert.Equal("think-int8-40", row.GetProperty("format").GetString());
            Assert.Equal("scalar", row.GetProperty("kernels").GetString());
            Assert.True(row.GetProperty("gbps").GetDouble() > 0);
        }

        // Three sequences of the same rows, each in memory of its own.
        Assert.Equal(rows[0].GetProperty("bytes_vs_dense16").GetDouble(), rows[1].GetProperty("bytes_vs_dense16").GetDouble());
    }

    [Fact]
    public void A_prefill_row_says_what_sealing_and_memory_take()
    {
        var row = Assert.Single(Commands.Rows("attention --quick --shape 4/2/64 --context 512 --new-tokens 0 --chunk 256 --format bitmap-bf16-70"));

        Assert.Equal("prefill", row.GetProperty("bench").GetString());
        Assert.Equal(512, row.GetProperty("new_tokens").GetInt32());
        Assert.Equal(256, row.GetProperty("chunk_tokens").GetInt32());
        Assert.True(row.GetProperty("estimated_bytes").GetInt64() > 0);
        if (OperatingSystem.IsLinux())
            Assert.True(row.GetProperty("seal_share").GetDouble() > 0);
    }

    [Theory]
    [InlineData("--context 191", "--context takes 192 to 1048576; 191 is not.")]
    [InlineData("--threads 2 0", "--threads takes 1 to 1024; 0 is not.")]
    [InlineData("--batch 1 300", "--batch takes 1 to 256; 300 is not.")]
    [InlineData("--softcap NaN", "--softcap takes 0 to 1000; NaN is not.")]
    [InlineData("--new-tokens x", "Cannot parse argument 'x' for option '--new-tokens' as expected type 'System.Int32'.")]
    [InlineData("--shape 32/7/64", "'32/7/64' is no shape")]
    [InlineData("--format int9", "'int9' not recognized")]
    public void A_wrong_option_is_named(string arguments, string message) =>
        Assert.Contains(message, Assert.Single(Commands.Parse($"attention {arguments}").Errors).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("attention --new-tokens 8 --batch 2", "--batch is for decoding")]
    [InlineData("attention --context 192 --shape 4/2/64 --kernels sse", "sse")]
    [InlineData("attention --context 192 --shape 4/2/64 --new-tokens 8 --format stock-int8", "nothing to measure")]
    public void Options_that_do_not_go_together_end_the_run(string arguments, string message) =>
        Assert.Contains(message, Commands.Failure(arguments), StringComparison.Ordinal);
}
