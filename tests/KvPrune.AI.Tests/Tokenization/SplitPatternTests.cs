using System.Text.RegularExpressions;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Tests.Tokenization;

/// <summary>Patterns mean in .NET what they mean to Oniguruma, or are refused.</summary>
public sealed class SplitPatternTests
{
    [Theory]
    [InlineData("(a+)+$")]
    [InlineData("(?:a+)*")]
    [InlineData("(?:ab){2}")]
    [InlineData("a**")]
    [InlineData("a{2}+")]
    [InlineData("a{2}?")]
    [InlineData("a{,2}")]
    [InlineData("a{2")]
    [InlineData("a{3,2}")]
    [InlineData("a{0}")]
    [InlineData("a{1001}")]
    [InlineData("a*")]
    [InlineData("a|b?")]
    [InlineData("(?=a)")]
    [InlineData("(?:a?)(?:b?)")]
    [InlineData("(?=a)+b")]
    [InlineData("")]
    [InlineData("^a")]
    [InlineData("a$")]
    [InlineData(".")]
    [InlineData(@"\w+")]
    [InlineData(@"\bx")]
    [InlineData(@"\Ax")]
    [InlineData(@"(a)\1")]
    [InlineData(@"\x41")]
    [InlineData("a\\")]
    [InlineData("(a")]
    [InlineData("a)")]
    [InlineData("[a")]
    [InlineData("[")]
    [InlineData("[]a]")]
    [InlineData("[a[b]]")]
    [InlineData("[[:alpha:]]")]
    [InlineData("[a-z&&[^b]]")]
    [InlineData("[z-a]")]
    [InlineData(@"[\s-a]")]
    [InlineData(@"[a-\s]")]
    [InlineData(@"[\w]")]
    [InlineData(@"\p{Han}")]
    [InlineData(@"\p{^L}")]
    [InlineData(@"\pL")]
    [InlineData(@"\p{L")]
    [InlineData(@"(?i:\p{Lu}x)")]
    [InlineData(@"(?i:[\p{Lu}])")]
    [InlineData("(?i:[^a])")]
    [InlineData("(?i:é)")]
    [InlineData("(?i:[à-é])")]
    [InlineData("(?i:ss)")]
    [InlineData("(?i:first)")]
    [InlineData("(?i)a")]
    [InlineData("(?-i:a)")]
    [InlineData("(?<=a)b")]
    [InlineData("(?<!a)b")]
    [InlineData("(?<name>a)")]
    [InlineData("(?>a)")]
    [InlineData("(?#x)a")]
    [InlineData("😀")]
    [InlineData("[😀]")]
    [InlineData("[\u4E00-\uFFFF]")]
    [InlineData("\uA9E0")]
    public void What_the_two_engines_read_differently_or_slowly_is_refused(string pattern) =>
        Assert.Throws<FormatException>(() => SplitPattern.Translate(pattern));

    [Fact]
    public void Long_and_deep_patterns_are_refused()
    {
        Assert.Throws<FormatException>(() => SplitPattern.Translate(new string('a', 5000)));
        Assert.Throws<FormatException>(() => SplitPattern.Translate(string.Concat(Enumerable.Repeat("(", 2000))));
    }

    [Fact]
    public void A_pattern_that_takes_too_long_is_named()
    {
        Assert.InRange(SplitPattern.Translate("a+b").MatchTimeout, TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(1));
        var slow = new SplitStep(
            new Regex("(?:a|aa)+[^a]", RegexOptions.CultureInvariant, TimeSpan.FromMilliseconds(20)), SplitBehavior.Isolated,
            File: "tokenizer.json", Entry: "pre_tokenizer.pattern");
        var error = Assert.Throws<TokenizerFormatException>(() => PieceSplitter.Split(new string('a', 100), [slow]));
        Assert.Equal(("tokenizer.json", "pre_tokenizer.pattern"), (error.File, error.Entry));
    }

    [Theory]
    [InlineData("(?i:'s|'k)", "'S'ſ'k'K", "'S", "'ſ", "'k", "'K")]
    [InlineData("'(?i:[r-t]|LL)", "'ſ'T'lL'L", "'ſ", "'T", "'lL")]
    [InlineData("a++a|a", "aab", "a", "a")]
    [InlineData("(?:a++|b)c", "aacbc", "aac", "bc")]
    [InlineData("a+?b?", "aab", "a", "ab")]
    [InlineData(@"[a\-\]-]+", "a-]b", "a-]")]
    [InlineData(@"[^\S\n]+", " \t\n ", " \t", " ")]
    [InlineData("[#a-c{}.-]+", "#b{.-}d", "#b{.-}")]
    [InlineData(@"\p{N}{2,3}|\p{Lu}\P{Lu}", "12345Ab", "123", "45", "Ab")]
    [InlineData(@"\s+(?!\S)|x(?=y)", "a   b xy", "  ", "x")]
    [InlineData("}|]|&&|-", "}]&&-", "}", "]", "&&", "-")]
    public void Matches_are_those_of_Oniguruma(string pattern, string text, params string[] expected)
    {
        IEnumerable<string> matches = SplitPattern.Translate(pattern).Matches(text).Select(match => match.Value);
        Assert.Equal(expected, matches);
    }
}
