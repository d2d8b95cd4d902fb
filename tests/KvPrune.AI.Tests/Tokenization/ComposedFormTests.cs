using System.Diagnostics;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Tests.Tokenization;

public sealed class ComposedFormTests
{
    [Theory]
    [InlineData("", "")]
    [InlineData("plain", "plain")]
    [InlineData("e\u0301", "é")]
    [InlineData("é", "é")]
    [InlineData("e\u0301\u0323", "\u1EB9\u0301")] // marks in order of class
    [InlineData("a\u0315\u0300\u05AE\u0300b", "\u00E0\u05AE\u0300\u0315b")]
    [InlineData("\u1E0B\u0323", "\u1E0D\u0307")] // taken apart, sorted, put together
    [InlineData("\u2126\u212A\u212B", "ΩKÅ")] // singletons
    [InlineData("\u0958", "\u0915\u093C")] // never composed
    [InlineData("\uFB1D", "\u05D9\u05B4")]
    [InlineData("\u1100\u1161\u11A8", "각")]
    [InlineData("가\u11A8", "각")]
    [InlineData("각\u11A8", "각\u11A8")]
    [InlineData("\u1100\u1100\u1161", "\u1100가")]
    [InlineData("\U00011099\U000110BA", "\U0001109A")]
    [InlineData("\U0001D15E", "\U0001D157\U0001D165")]
    [InlineData("\u0301e", "\u0301e")]
    [InlineData("e\u0302\u0301", "ế")]
    [InlineData("e\u0301\u0302", "é\u0302")] // equal classes keep their order
    [InlineData("\u0B47\u0300\u0B3E", "\u0B47\u0300\u0B3E")] // blocked
    [InlineData("\u0B47\u0B3E", "\u0B4B")] // two starters
    [InlineData("a\uFFFEe\u0301\uFFFF", "a\uFFFEé\uFFFF")]
    public void Text_is_composed_as_the_annex_of_Unicode_says(string text, string expected) => Assert.Equal(expected, ComposedForm.Of(text));

    [Fact]
    public void Composing_twice_changes_nothing_more_and_cuts_at_letters_change_nothing()
    {
        var generator = new TextGenerator(5);
        for (int i = 0; i < 1000; i++)
        {
            string text = generator.RandomRunes() + generator.Pick(["e\u0301", "\u0323\u0301\u0301", "\u1161\u11A8", "\u0915\u093C"]) + generator.RandomRunes();
            string composed = ComposedForm.Of(text);
            Assert.Equal(composed, ComposedForm.Of(composed));
            Assert.Equal(composed + "x" + composed, ComposedForm.Of(text + "x" + text));
        }
    }

    [Fact]
    public void A_long_run_of_marks_takes_no_longer_than_other_text()
    {
        var watch = Stopwatch.StartNew();
        string text = "a" + string.Concat(Enumerable.Repeat("\u0301\u0323\u0300", 100_000));
        Assert.Equal(text.Length - 1, ComposedForm.Of(text).Length);
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(10), $"{watch.Elapsed}");
    }
}
