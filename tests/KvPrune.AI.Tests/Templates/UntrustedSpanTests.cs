using KvPrune.AI.Templates;

namespace KvPrune.AI.Tests.Templates;

/// <summary>The characters of message contents are followed through everything a template can do to them.</summary>
public sealed class UntrustedSpanTests
{
    // The template writes lower case, the message upper case, digits, blanks and emoji: the spans have to be exactly those.
    private const string Content = "  AB😀 C\nD1  ";

    [Theory]
    [InlineData("x{{ messages[0].content }}y")]
    [InlineData("x{{ messages[0].content | trim }}y")]
    [InlineData("x{{- messages[0].content.lstrip() -}} y")]
    [InlineData("{{ 'x' + messages[0].content + 'y' }}")]
    [InlineData("{{ 'x' ~ messages[0].content ~ messages[0].content ~ 'y' }}")]
    [InlineData("{{ ('x' ~ messages[0].content ~ 'y')[2:-1] }}")]
    [InlineData("{{ ('xyz' ~ messages[0].content ~ 'y')[::-1] }}")]
    [InlineData("{{ ('xyz' ~ messages[0].content ~ 'y')[::2] }}")]
    [InlineData("{{ ('xyz' ~ messages[0].content)[-3] }}z")]
    [InlineData("{% for c in 'x' ~ messages[0].content %}{{ c }}z{% endfor %}")]
    [InlineData("{% set t = messages[0].content %}{% set u %}q{{ t }}r{% endset %}{{ u ~ 'v' }}")]
    [InlineData("{{ (messages[0].content if messages else 'x') ~ (none or messages[0].content) ~ ('x' and messages[0].content) }}x")]
    [InlineData("{{ ['x', messages[0].content][1] }}{{ {'k': messages[0].content}.k }}{{ {'k': messages[0].content}['k'] }}x")]
    [InlineData("{% for m in messages if m.content %}{{ loop.index0 and 'x' }}{{ m['content'] }}{% endfor %}")]
    [InlineData("{{ 'yx'.strip('x' ~ messages[0].content) }}{{ ('x' ~ messages[0].content).strip('x') }}")]
    [InlineData("{{ messages[0].content == 'x' or messages[0].content in 'x' }}{{ messages[0].content[0:0] }}", false)]
    public void Spans_are_exactly_the_characters_of_messages(string template, bool hasSpans = true)
    {
        // A digit from loop.index0 would look like one of the message; none of the templates prints one but 0.
        RenderedPrompt prompt = ChatTemplate.Parse(template, "test", new Dictionary<string, string>())
            .Render([new TemplateMessage("user", Content)], false);
        var untrusted = new bool[prompt.Text.Length];
        foreach (Range span in prompt.UntrustedSpans)
            Array.Fill(untrusted, true, span.Start.Value, span.End.Value - span.Start.Value);

        for (int i = 0; i < prompt.Text.Length; i++)
        {
            bool fromMessage = hasSpans && prompt.Text[i] is not ((>= 'a' and <= 'z') or '0');
            Assert.True(untrusted[i] == fromMessage, $"'{prompt.Text[i]}' at {i} of {prompt.Text}");
        }

        Assert.Equal(hasSpans, prompt.UntrustedSpans.Count > 0);
    }

    [Fact]
    public void The_role_belongs_to_the_application()
    {
        RenderedPrompt prompt = ChatTemplate.Parse("{{ messages[0].role ~ messages[0].content }}", "test", new Dictionary<string, string>())
            .Render([new TemplateMessage("user", "X")], false);
        Assert.Equal("X", prompt.Text[Assert.Single(prompt.UntrustedSpans)]);
    }
}
