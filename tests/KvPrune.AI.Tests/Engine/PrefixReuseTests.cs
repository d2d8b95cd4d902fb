using KvPrune.AI.Engine;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Tests.Engine;

public class PrefixReuseTests
{
    private static readonly int[] Document = [.. Enumerable.Range(0, 30).Select(i => 1 + (i * 7 % 60))];

    [Fact]
    public async Task An_equal_prompt_is_not_read_again()
    {
        using var engine = new ToyEngine(new ToyRuntime(), cachedPrompts: 2);
        var cold = await engine.AskAsync(ToyEngine.Request(Document));
        int chunks = engine.Runtime.Steps.Count(step => step.IsPrefill);
        var warm = await engine.AskAsync(ToyEngine.Request(Document));
        Assert.Equal(cold.Text, warm.Text);
        Assert.Equal((0, 30), (cold.Statistics.CachedTokens, warm.Statistics.CachedTokens));
        Assert.Equal(chunks, engine.Runtime.Steps.Count(step => step.IsPrefill));
        Assert.Equal([new PrefillProgress(30, 30)], warm.Progress);
    }

    [Fact]
    public async Task A_longer_conversation_continues_at_the_last_common_segment_end()
    {
        using var engine = new ToyEngine(new ToyRuntime(), cachedPrompts: 4);
        await engine.AskAsync(ToyEngine.Request(Document));
        int[] longer = [.. Document, 5, 6, 7];
        GenerationRequest next = ToyEngine.Request(longer, [30, 33]);
        var answer = await engine.AskAsync(next);
        Assert.Equal(30, answer.Statistics.CachedTokens);
        Assert.Equal(ToyEngine.Expected(next), answer.Text);
        Assert.Equal([5, 6, 7], engine.Runtime.Steps.Last(step => step.IsPrefill).Tokens);
    }

    [Fact]
    public async Task Other_segment_ends_another_policy_or_other_tokens_are_read_anew()
    {
        using var engine = new ToyEngine(new ToyRuntime(), cachedPrompts: 8);
        await engine.AskAsync(ToyEngine.Request(Document));
        GenerationRequest[] others =
        [
            ToyEngine.Request(Document, [10, 30]),
            ToyEngine.Request(Document, policy: PruningPolicy.Compact),
            ToyEngine.Request([.. Document[..29], 3]),
            ToyEngine.Request([.. Document, 5, 6]),
        ];
        foreach (GenerationRequest other in others)
        {
            var answer = await engine.AskAsync(other);
            Assert.Equal(0, answer.Statistics.CachedTokens);
            Assert.Equal(ToyEngine.Expected(other), answer.Text);
        }
    }

    [Fact]
    public async Task The_least_recently_used_prompt_goes_first()
    {
        using var engine = new ToyEngine(new ToyRuntime(), cachedPrompts: 2);
        async Task<int> CachedTokensOf(int first) =>
            (await engine.AskAsync(ToyEngine.Request([first, 2, 3, 4], maxTokens: 1))).Statistics.CachedTokens;
        Assert.Equal(0, await CachedTokensOf(1));
        Assert.Equal(0, await CachedTokensOf(2));
        Assert.Equal(4, await CachedTokensOf(1));
        Assert.Equal(0, await CachedTokensOf(3)); // drops 2
        Assert.Equal(4, await CachedTokensOf(1));
        Assert.Equal(0, await CachedTokensOf(2));
        Assert.Equal(2, engine.Runtime.SequencesAlive);
    }

    [Fact]
    public async Task Nothing_is_kept_when_no_prompt_may_be_cached()
    {
        using var engine = new ToyEngine(new ToyRuntime(), cachedPrompts: 0);
        await engine.AskAsync(ToyEngine.Request(Document));
        Assert.Equal(0, (await engine.AskAsync(ToyEngine.Request(Document))).Statistics.CachedTokens);
        Assert.Equal(0, engine.Runtime.SequencesAlive);
    }
}
