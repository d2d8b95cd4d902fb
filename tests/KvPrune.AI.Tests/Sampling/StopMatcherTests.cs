using System.Text;
using KvPrune.AI.Sampling;

namespace KvPrune.AI.Tests.Sampling;

public class StopMatcherTests
{
    [Fact]
    public void Any_cut_of_a_text_gives_what_a_naive_search_gives()
    {
        var random = new Random(1);
        int stopped = 0;
        for (int round = 0; round < 20_000; round++)
        {
            string text = RandomText(random, random.Next(0, 30));
            string[] stops = [.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => RandomText(random, random.Next(1, 6)))];
            var matcher = new StopMatcher(stops);
            var shown = new StringBuilder();
            for (int at = 0; at < text.Length && !matcher.IsStopped;)
            {
                int length = Math.Min(random.Next(1, 5), text.Length - at);
                shown.Append(matcher.Append(text.Substring(at, length)));
                at += length;
            }
            bool found = matcher.IsStopped;
            shown.Append(matcher.Flush());

            string? expected = NaiveCut(text, stops);
            Assert.Equal(expected is not null, found);
            Assert.Equal(expected ?? text, shown.ToString());
            if (found) stopped++;
        }
        Assert.InRange(stopped, 2_000, 18_000);
    }

    [Fact]
    public void Text_is_held_back_only_while_it_may_become_a_stop_string()
    {
        var matcher = new StopMatcher(["END", "\n\n"]);
        Assert.Equal("a", matcher.Append("aE"));
        Assert.Equal("", matcher.Append("N"));
        Assert.Equal("ENx", matcher.Append("x\n"));
        Assert.Equal("\nb", matcher.Append("b"));
        Assert.Equal("", matcher.Append("EN"));
        Assert.Equal("", matcher.Append("D tail"));
        Assert.True(matcher.IsStopped);
        Assert.Equal("", matcher.Append("more"));
        Assert.Equal("", matcher.Flush());
    }

    [Fact]
    public void An_empty_stop_string_is_refused() =>
        Assert.Contains("StopSequences", Assert.Throws<ArgumentException>(() => new StopMatcher(["a", ""])).Message, StringComparison.Ordinal);

    private static string RandomText(Random random, int length) =>
        string.Create(length, random, (span, r) => { foreach (ref char c in span) c = (char)('a' + r.Next(3)); });

    /// <summary>The text before the stop string that ends first (the longest of those), null without one.</summary>
    private static string? NaiveCut(string text, string[] stops)
    {
        for (int end = 1; end <= text.Length; end++)
        {
            string[] completed = [.. stops.Where(stop => text[..end].EndsWith(stop, StringComparison.Ordinal))];
            if (completed.Length > 0) return text[..(end - completed.Max(stop => stop.Length))];
        }
        return null;
    }
}
