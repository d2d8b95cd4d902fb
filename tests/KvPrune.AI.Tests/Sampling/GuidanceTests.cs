using KvPrune.AI.Sampling;

namespace KvPrune.AI.Tests.Sampling;

public sealed class GuidanceTests
{
    [Theory]
    [InlineData("")]
    [InlineData("a\0b")]
    [InlineData("a\uD83D")]
    [InlineData("\uDE00a")]
    [InlineData("\uD83D\uD83D\uDE00")]
    public void What_would_reach_the_grammar_engine_otherwise_is_refused(string grammar)
    {
        Assert.Throws<ArgumentException>(() => Guidance.Regex(grammar));
        Assert.Throws<ArgumentException>(() => Guidance.JsonSchema(grammar));
        Assert.Throws<ArgumentException>(() => Guidance.Lark(grammar));
    }

    [Fact]
    public void Any_other_text_is_kept() => Assert.Equal("ü😀\u0001", Guidance.Regex("ü😀\u0001").Grammar);
}
