using KvPrune.Benchmarks.Attention;

namespace KvPrune.Benchmarks.Tests;

public sealed class AttentionGoalsTests
{
    [Theory]
    [InlineData("32/8/64", 2048, "dense-bf16", "avx512", 6.5)]
    [InlineData("28/4/128", 2048, "bitmap-bf16-70", "avx512_bf16", 7.0)]
    [InlineData("32/8/64", 2048, "bitmap-int8-70", "avx512", 10.0)]
    [InlineData("32/8/64", 2048, "think-int8-40", "avx512", 13.0)]
    [InlineData("32/8/64", 2048, "think-bf16-40", "avx2", 1.7)]
    [InlineData("32/8/64", 2048, "bitmap-bf16-70", "avx2", null)]
    [InlineData("32/8/64", 2048, "dense-bf16", "scalar", null)]
    [InlineData("32/8/64", 2047, "dense-bf16", "avx512", null)]
    [InlineData("16/8/64", 2048, "dense-bf16", "avx512", null)]
    [InlineData("32/8/64", 2048, "stock-int8", "onnxruntime", null)]
    public void A_goal_is_for_a_shape_a_format_and_kernels(string shape, int context, string format, string kernels, double? reach) =>
        Assert.Equal(reach, AttentionGoals.Reach(new AttentionInputs(AttentionShape.Parse(shape), context), format, kernels, threads: 1));

    [Fact]
    public void Only_one_thread_and_one_sequence_have_a_goal_for_decoding()
    {
        var shape = new AttentionShape(32, 8, 64);
        Assert.Null(AttentionGoals.Reach(new AttentionInputs(shape, 2048), "dense-bf16", "avx512", threads: 2));
        Assert.Null(AttentionGoals.Reach(new AttentionInputs(shape, 2048, batch: 2), "dense-bf16", "avx512", threads: 1));
    }

    [Fact]
    public void A_prompt_is_to_be_read_no_slower_than_by_the_stock_operator() =>
        Assert.Equal(1, AttentionGoals.Reach(new AttentionInputs(new AttentionShape(4, 2, 64), 256, newTokens: 8), "compact", "avx512", threads: 2));
}
