using KvPrune.OnnxOps.Tests.Graphs;
using KvPrune.OnnxOps.Tests.Ops;

namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>What the definitions of the methods promise, of the reference that stands for them.</summary>
public class ReferenceMethodsTests
{
    private const int Tokens = 320, Window = 32, Leaving = 256;

    private static readonly AttentionShape Shape = new(4, 2, 16, Rotary: true);

    private static readonly TokenEviction Half = new() { Sparsity = 0.5, SinkTokens = 4 };

    private static readonly PruningPolicy Exact = PruningPolicy.Exact with { RecentWindow = Window };

    public static TheoryData<TokenScore, HeadBudgets, bool, bool> Evictions
    {
        get
        {
            var data = new TheoryData<TokenScore, HeadBudgets, bool, bool>();
            foreach (var score in Enum.GetValues<TokenScore>())
            {
                data.Add(score, HeadBudgets.Uniform, false, false);
                if (score == TokenScore.Recency)
                    continue;
                data.Add(score, HeadBudgets.Adaptive, true, false);
                data.Add(score, HeadBudgets.Global, false, true);
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Evictions))]
    public void Eviction_keeps_sinks_the_tail_and_the_budget_in_whole_tiles(
        TokenScore score, HeadBudgets heads, bool weigh, bool stages)
    {
        var policy = Exact with { Eviction = Half with { Score = score, Heads = heads, WeighByValue = weigh, SecondStage = stages } };
        policy.Validate();
        var layers = Layers(policy, 2);
        var total = 0;
        foreach (var rows in layers.SelectMany(layer => layer.Heads).Select(head => head.Rows))
        {
            Assert.Equal(Tokens, rows.Count);
            Assert.All(rows.Take(4).Concat(rows.Skip(Leaving)), row => Assert.True(row.IsKept));
            var kept = rows.Take(Leaving).Count(row => row.IsKept);
            Assert.Equal(0, kept % 64);
            total += kept;
            if (score == TokenScore.Recency)
                Assert.All(rows.Skip(4).Take(Leaving - kept), row => Assert.False(row.IsKept));
        }

        // Half of 320 less the 64 of the tail are 96 on average: 2 tiles of each head, or what competition makes of that.
        if (heads == HeadBudgets.Uniform)
            Assert.Equal(4 * 128, total);
        Assert.InRange(total, (4 * 96) - (4 * 32), (4 * 96) + (4 * 32));
    }

    [Fact]
    public void Pyramids_fall_from_layer_to_layer()
    {
        var policy = Exact with { Eviction = new() { TokenBudget = 192, PyramidSlope = 20, Score = TokenScore.WindowAttention } };
        int[] kept = [.. Layers(policy, 3).Select(layer => layer.Heads[0].Rows.Take(Leaving).Count(row => row.IsKept))];
        // 249.6, 128 and 6.4 tokens.
        Assert.Equal([256, 128, 0], kept);
    }

    [Fact]
    public void Patterns_keep_equal_numbers_of_elements()
    {
        var policy = Exact with
        {
            KeySparsity = 0.5,
            KeyScore = KeyScore.QueryMagnitude,
            ValueSparsity = 0.7,
            ValuePattern = SparsityPattern.PerChannel,
            ValueScore = ValueScore.Attention,
            KeyChannelSparsity = 0.25,
            ValueChannelSparsity = 0.5,
        };
        policy.Validate();
        var rows = Layers(policy, 1)[0].Heads[1].Rows;
        Assert.All(rows.Take(Leaving), row => Assert.Equal(6, row.Key.Stored.Count(x => x != 0)));
        foreach (var group in rows.Take(Leaving).Chunk(32))
        {
            int[] perChannel = [.. Enumerable.Range(0, 16).Select(j => group.Count(row => row.Value.Stored[j] != 0))];
            Assert.Equal(8, perChannel.Count(count => count == 10));
            Assert.Equal(8, perChannel.Count(count => count == 0));
        }
    }

    [Fact]
    public void Generated_rows_keep_all_channels_and_are_never_evicted()
    {
        var policy = Exact with
        {
            KeySparsity = 0.5,
            KeyChannelSparsity = 0.5,
            ValueSparsity = 0.5,
            ValuePattern = SparsityPattern.PerChannel,
            Eviction = Half,
        };
        var sequence = Layers(policy, 1)[0];
        Assert.All(sequence.Decode(TokenRows.Random(Shape, 70, seed: 9)), x => Assert.True(float.IsFinite(x)));
        var rows = sequence.Heads[0].Rows;
        Assert.Equal(Tokens + 70, rows.Count);
        Assert.All(rows.Skip(Leaving), row => Assert.True(row.IsKept));
        // What the prompt left in the tail is sealed as what is generated.
        var generated = rows.Skip(Leaving).Take(64).ToArray();
        Assert.All(generated, row => Assert.Equal(8, row.Key.Stored.Count(x => x != 0)));
        Assert.All(Enumerable.Range(0, 16), j => Assert.Equal(32, generated.Count(row => row.Value.Stored[j] != 0)));
    }

    // With one channel that all queries are large in, both scores by queries keep it though its keys are small.
    [Theory]
    [InlineData(KeyScore.QueryMagnitude)]
    [InlineData(KeyScore.QueryRms)]
    public void Scores_by_queries_keep_what_queries_look_at(KeyScore score)
    {
        var rows = TokenRows.Random(Shape, Tokens, seed: 1);
        for (var i = 5; i < rows.Query.Length; i += 16)
            rows.Query[i] = 1e4f;
        var shape = Shape with { Rotary = false };
        var by = new ReferenceSequence(shape, Exact with { KeySparsity = 0.9, KeyScore = score });
        var magnitude = new ReferenceSequence(shape, Exact with { KeySparsity = 0.9 });
        by.Prompt(rows);
        magnitude.Prompt(rows);
        int With(ReferenceSequence sequence) => sequence.Heads[0].Rows.Take(Leaving).Count(row => row.Key.Stored[5] != 0);
        Assert.True(With(by) > 240, $"{With(by)} rows");
        Assert.True(With(magnitude) < 100, $"{With(magnitude)} rows");
    }

    // Gram matrices of the identity in the last two channels: values count there only.
    [Fact]
    public void Weights_of_the_output_decide_what_of_V_stays()
    {
        var policy = Exact with { ValueSparsity = 0.875, ValueScore = ValueScore.OutputWeight };
        var rows = Layers(policy, 1)[0].Heads[0].Rows;
        Assert.All(rows.Take(Leaving), row => Assert.All(Enumerable.Range(0, 16), j => Assert.Equal(j >= 14, row.Value.Stored[j] != 0)));
    }

    [Fact]
    public void Probes_decide_what_reconstruction_keeps()
    {
        var shape = Shape with { Rotary = false };
        var rows = TokenRows.Random(shape, Tokens, seed: 2);
        var probe = TokenRows.Random(shape, 1, seed: 3);
        // The probe's queries of the first KV head are the keys of tokens 100 and 130, made large.
        for (var j = 0; j < 16; j++)
        {
            probe.Query[j] = 50 * rows.Key[(100 * shape.KvWidth) + j];
            probe.Query[16 + j] = 50 * rows.Key[(130 * shape.KvWidth) + j];
        }

        var sequence = new ReferenceSequence(
            shape, Exact with { Eviction = new() { Score = TokenScore.Reconstruction, TokenBudget = 128, SinkTokens = 0 } });
        ReferenceSequence.Prompt([sequence], new([rows]), new LayerRows([probe]));
        var kept = sequence.Heads[0].Rows;
        Assert.Equal(64, kept.Take(Leaving).Count(row => row.IsKept));
        Assert.True(kept[100].IsKept || kept[130].IsKept);
        Assert.Equal(Tokens, kept.Count);
    }

    private static ReferenceSequence[] Layers(PruningPolicy policy, int count)
    {
        var grams = new float[2 * 16 * 16];
        for (var head = 0; head < 2; head++)
        {
            for (var j = 14; j < 16; j++)
                grams[(((head * 16) + j) * 16) + j] = 1;
        }

        ReferenceSequence[] layers = [.. Enumerable.Range(0, count).Select(layer => new ReferenceSequence(Shape, policy, layer, grams))];
        LayerRows Rows(int tokens, int seed) => new([.. layers.Select((_, layer) => TokenRows.Random(Shape, tokens, seed + layer))]);
        var outputs = ReferenceSequence.Prompt(layers, Rows(Tokens, seed: 0), Rows(20, seed: 100));
        Assert.All(outputs.SelectMany(output => output), x => Assert.True(float.IsFinite(x)));
        return layers;
    }
}
