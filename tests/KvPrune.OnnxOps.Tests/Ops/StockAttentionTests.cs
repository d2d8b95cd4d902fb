using KvPrune.OnnxOps.Tests.Graphs;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>With nothing removed and float32 storage the operator is GroupQueryAttention.</summary>
public class StockAttentionTests
{
    public static TheoryData<int, int, int, bool> Shapes => new()
    {
        { 4, 4, 64, true }, { 4, 4, 64, false },
        { 8, 2, 64, true }, { 8, 2, 64, false },
        { 8, 1, 128, true }, { 8, 1, 128, false },
        { 6, 2, 96, true }, { 6, 2, 96, false },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void A_prompt_in_one_run_and_decoding_equal_the_stock_operator(
        int queryHeads, int kvHeads, int headSize, bool rotary) =>
        Compare(new AttentionShape(queryHeads, kvHeads, headSize, rotary), [197], generated: 80);

    [Theory]
    [MemberData(nameof(Shapes))]
    public void A_prompt_in_chunks_and_decoding_equal_the_stock_operator(
        int queryHeads, int kvHeads, int headSize, bool rotary) =>
        Compare(new AttentionShape(queryHeads, kvHeads, headSize, rotary), [64, 1, 100, 32], generated: 10);

    [Fact]
    public void A_second_prompt_over_sealed_rows_equals_the_stock_operator()
    {
        var shape = new AttentionShape(8, 2, 64, Rotary: true);
        using var stock = new StockAttentionModel(shape);
        using var pruned = new PrunedAttentionModel(shape);
        using var sequence = pruned.Manager.CreateSequence(PruningPolicy.Exact);
        var rows = TokenRows.Random(shape, 400, seed: 5);
        foreach (var part in new[] { rows[..130], rows[130..205], rows[205..400] })
        {
            var expected = stock.Run(part);
            Close.Rows(expected, pruned.Prompt(sequence, part, 5, part.Count - 5), shape.HeadSize, 1e-4, $"{part.Count} tokens");
        }

        Assert.Equal(320, sequence.GetInfo().SealedTokens);
    }

    private static void Compare(AttentionShape shape, int[] chunks, int generated)
    {
        using var stock = new StockAttentionModel(shape);
        using var pruned = new PrunedAttentionModel(shape);
        using var sequence = pruned.Manager.CreateSequence(PruningPolicy.Exact);
        var prompt = chunks.Sum();
        var rows = TokenRows.Random(shape, prompt + generated, seed: 3);

        sequence.OpenSegment(prompt);
        var done = 0;
        foreach (var count in chunks.Concat(Enumerable.Repeat(1, generated)))
        {
            var part = rows[done..(done + count)];
            done += count;
            Close.Rows(stock.Run(part), pruned.Step(sequence, part), shape.HeadSize, 1e-4, $"{count} tokens up to {done}");
        }

        Assert.Equal(done, sequence.Length);
        Assert.InRange(sequence.GetInfo().SealedTokens, 128, done - 32);
    }
}
