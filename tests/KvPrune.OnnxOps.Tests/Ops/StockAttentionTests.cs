using KvPrune.OnnxOps.Tests.Graphs;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>With nothing removed and float32 storage the operator is GroupQueryAttention.</summary>
public class StockAttentionTests
{
    private static readonly AttentionShape Plain = new(8, 2, 64, Rotary: true);

    private static readonly AttentionShape[] Shapes =
    [
        new(4, 4, 64), new(4, 4, 64, Rotary: true), new(8, 1, 128), new(6, 2, 96, Rotary: true), Plain,
        .. new[] { 8, 32, 40, 48, 72, 80, 112, 160, 256 }.Select(size => new AttentionShape(4, 2, size, Rotary: size % 16 == 0)),
        Plain with { Interleaved = true },
        Plain with { RotarySize = 32 },
        Plain with { RotarySize = 48, Interleaved = true },
        Plain with { Packed = true },
        Plain with { Packed = true, RotarySize = 32, Window = 70 },
        .. new[] { 1, 2, 7, 63, 64, 65, 130, 500 }.Select(window => Plain with { Window = window }),
        Plain with { Softcap = 5 },
        Plain with { SmoothSoftmax = true },
        Plain with { HeadSink = true },
        Plain with { HeadSink = true, SmoothSoftmax = true },
        new(8, 2, 64) { HeadSink = true },
        Plain with { Softcap = 3, HeadSink = true, Window = 40, Packed = true, Interleaved = true },
        new AttentionShape(16, 1, 80, Rotary: true) { Softcap = 30, Window = 100 },
    ];

    public static TheoryData<int> Cases => [.. Enumerable.Range(0, Shapes.Length)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_prompt_in_one_run_and_decoding_equal_the_stock_operator(int shape) =>
        Compare(Shapes[shape], [197], generated: 80);

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_prompt_in_chunks_and_decoding_equal_the_stock_operator(int shape) =>
        Compare(Shapes[shape], [64, 1, 100, 32], generated: 10);

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_second_prompt_over_sealed_rows_equals_the_stock_operator(int index)
    {
        var shape = Shapes[index];
        using var stock = new StockAttentionModel(shape);
        using var pruned = new PrunedAttentionModel(shape);
        using var sequence = pruned.Manager.CreateSequence(PruningPolicy.Exact);
        var rows = TokenRows.Random(shape, 400, seed: 5);
        foreach (var part in new[] { rows[..130], rows[130..205], rows[205..400] })
        {
            var expected = stock.Run(part);
            Close.Rows(expected, pruned.Prompt(sequence, part, 5, part.Count - 5), shape.HeadSize, 1e-4, $"{shape}: {part.Count} tokens");
        }

        Assert.Equal(320, sequence.GetInfo().SealedTokens);
    }

    [Fact]
    public void A_prompt_that_the_stock_kernel_reads_in_slices_equals_the_stock_operator()
    {
        var shape = Plain with { Softcap = 5, Window = 600, HeadSink = true };
        foreach (var read in new[] { shape, Plain })
        {
            Compare(read, [900], generated: 1);
            Compare(read, [300, 600], generated: 1);
        }
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
            Close.Rows(stock.Run(part), pruned.Step(sequence, part), shape.HeadSize, 1e-4, $"{shape}: {count} tokens up to {done}");
        }

        Assert.Equal(done, sequence.Length);
        Assert.InRange(sequence.GetInfo().SealedTokens, 128, done - 32);
    }
}
