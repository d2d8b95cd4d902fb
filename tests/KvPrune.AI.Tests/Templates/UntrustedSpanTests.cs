using System.Text.Json;
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
    [InlineData("{{ messages[0].content.split('\n') | join('x') }}{{ 'x'.join(messages[0].content.split()) }}{{ messages[0].content.rsplit(none, 1)[0] }}")]
    [InlineData("{{ (messages[0].content ~ 'xyx').replace('x', 'z') }}{{ 'xyx' | replace('y', messages[0].content) }}{{ messages[0].content.replace('A', 'x') }}")]
    [InlineData("{{ messages[0].content.replace('', 'x') }}{{ messages[0].content.splitlines() | join('x') }}{{ messages[0].content.removeprefix('  A') }}x")]
    [InlineData("{{ [messages[0].content, 'x'] | join('y') }}{{ messages | map(attribute='content') | join('x') }}{{ messages | join('x', attribute='content') }}x")]
    [InlineData("{% macro f(a, b='x') %}y{{ a }}{{ b }}{% endmacro %}{{ f(messages[0].content) }}{{ f('x', b=messages[0].content) }}{{ f(f(messages[0].content)) }}")]
    [InlineData("{% set ns = namespace(t='x') %}{% for m in messages %}{% set ns.t = ns.t ~ m.content ~ 'y' %}{% endfor %}{{ ns.t }}{% set ns.u %}x{{ ns.t }}{% endset %}{{ ns.u }}")]
    [InlineData("{{ ('x' ~ messages[0].content) * 2 }}{{ messages[0].content | upper }}x{{ ('abc' ~ messages[0].content).lower()[:3] }}")]
    [InlineData("{{ messages[0].content | reverse }}x{{ messages[0].content | first }}x{{ messages[0].content | last }}x{{ messages[0].content | list | unique | join('x') }}")]
    [InlineData("{{ messages[0].content | sort | join('x') }}{{ ['x', messages[0].content] | sort | last }}{{ messages[0].content | default('x') }}{{ missing | default(messages[0].content) }}x")]
    [InlineData("{% for k, v in messages[0].items() %}{{ v if k == 'content' else 'x' }}{% endfor %}{{ messages[0].get('content') }}x{{ messages[0].get('x', messages[0].content) }}{{ (messages[0] | dictsort)[0][1] }}")]
    [InlineData("{% set a, b = messages[0].content, 'x' %}{{ b ~ a }}{{ (messages[0].content, 'x')[0] }}x{{ messages[0].content | string }}{{ messages[0].content | safe }}x{{ messages[0].content | indent('x', true) }}")]
    [InlineData("{{ (messages | selectattr('content') | list)[0].content }}x{{ messages[0].content.split('\n') | map('trim') | join('x') }}{{ messages[0].content | capitalize | first }}x{% generation %}{{ messages[0].content }}x{% endgeneration %}")]
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

    [Theory]
    [InlineData("{{ messages[0] }}|{{ messages }}|{{ messages | tojson }}|{{ messages | tojson(ensure_ascii=true, indent=1) }}|{{ [messages[0].content] ~ 'x' }}")]
    [InlineData("{{ messages[0].content | lower }}|{{ messages[0].content | title }}|{{ messages[0].content.capitalize() }}|{{ ('\u0130\u00df' ~ messages[0].content) | upper }}")]
    [InlineData("{{ tools | tojson }}|{{ tools }}|{% for t in tools %}{{ t.function.name }}{{ t.function.parameters.items() | list }}{{ t.function.parameters | dictsort | map('last') | join }}{% endfor %}")]
    [InlineData("{{ messages[1].tool_calls | tojson }}|{{ messages[1].tool_calls[0].function.name }}{% for k, v in messages[1].tool_calls[0].function.arguments | items %}{{ k }}={{ v }}{% endfor %}")]
    [InlineData("{{ messages[2].content }}{{ messages[2].tool_call_id }}{{ messages[2].name }}")]
    public void Nothing_that_came_in_is_trusted_whatever_is_made_of_it(string template)
    {
        // Every letter from outside is Greek; templates have none.
        const string greek = "\u03B1\u0392\u03B3";
        JsonElement json = JsonSerializer.SerializeToElement(new Dictionary<string, object> { [greek] = greek, ["x"] = new[] { greek } });
        JsonElement tool = JsonSerializer.SerializeToElement(new { type = "function", function = new { name = greek, parameters = json } });
        RenderedPrompt prompt = ChatTemplate.Parse(template, "test", new Dictionary<string, string>()).Render(
            [
                new TemplateMessage("user", greek + " " + greek),
                new TemplateMessage("assistant", greek) { ToolCalls = [new TemplateToolCall(greek, greek, json)] },
                new TemplateMessage("tool", greek) { ToolCallId = greek, ToolName = greek },
            ],
            true,
            [tool]);
        int found = 0;
        for (int i = 0; i < prompt.Text.Length; i++)
        {
            bool isEscape = prompt.Text.AsSpan(i).StartsWith("\\u03");
            if (!isEscape && prompt.Text[i] is < '\u0370' or > '\u03FF')
                continue;
            found++;
            Assert.True(prompt.UntrustedSpans.Any(span => span.Start.Value <= i && i < span.End.Value), $"{i} of {prompt.Text}");
        }

        Assert.True(found > 5);
    }

    [Fact]
    public void The_role_belongs_to_the_application()
    {
        RenderedPrompt prompt = ChatTemplate.Parse("{{ messages[0].role ~ messages[0].content }}", "test", new Dictionary<string, string>())
            .Render([new TemplateMessage("user", "X")], false);
        Assert.Equal("X", prompt.Text[Assert.Single(prompt.UntrustedSpans)]);
    }
}
