using KvPrune.AI.Sampling;

namespace KvPrune.AI.Tests.Sampling;

public sealed class GuidanceTests
{
    [Fact]
    public void What_would_reach_the_grammar_engine_otherwise_is_refused()
    {
        // No theory: an attribute cannot hold half of a surrogate pair.
        foreach (string grammar in new[] { "", "a\0b", "a\uD83D", "\uDE00a", "\uD83D\uD83D\uDE00" })
        {
            Assert.Throws<ArgumentException>(() => Guidance.Regex(grammar));
            Assert.Throws<ArgumentException>(() => Guidance.JsonSchema(grammar));
            Assert.Throws<ArgumentException>(() => Guidance.Lark(grammar));
        }
    }

    [Fact]
    public void Any_other_text_is_kept() => Assert.Equal("ü😀\u0001", Guidance.Regex("ü😀\u0001").Grammar);
}
