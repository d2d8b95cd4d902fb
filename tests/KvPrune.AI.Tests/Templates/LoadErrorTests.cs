using KvPrune.AI.Templates;

namespace KvPrune.AI.Tests.Templates;

/// <summary>What the interpreter does not know fails when the template loads, with the line.</summary>
public sealed class LoadErrorTests
{
    private static readonly Dictionary<string, string> NoTokens = [];

    [Theory]
    [InlineData("a\n\n{% macro f() %}{% endmacro %}", 3, "'macro'")]
    [InlineData("{% raw %}{{ x }}{% endraw %}", 1, "'raw'")]
    [InlineData("{% for x in y %}\n{% break %}{% endfor %}", 2, "'break'")]
    [InlineData("{% include 'x' %}", 1, "'include'")]
    [InlineData("{% %}", 1, "the name of a statement")]
    [InlineData("{{ x | upper }}", 1, "'upper'")]
    [InlineData("{{ x |\n length }}", 2, "'length'")]
    [InlineData("{{ x | tojson(2) }}", 1, "'indent=…'")]
    [InlineData("{{ x | trim('a', 'b') }}", 1, "'trim'")]
    [InlineData("\n{{ namespace(x=1) }}", 2, "'namespace'")]
    [InlineData("{{ strftime_now('%d') }}", 1, "'strftime_now'")]
    [InlineData("{{ x.items() }}", 1, "'items'")]
    [InlineData("{{ x.split(',') }}", 1, "'split'")]
    [InlineData("{{ x['a']() }}", 1, "this call")]
    [InlineData("{{ raise_exception() }}", 1, "needs a message")]
    [InlineData("{{ raise_exception('a', 'b') }}", 1, "'raise_exception'")]
    [InlineData("{{ x is divisibleby 3 }}", 1, "'divisibleby'")]
    [InlineData("{{ x is string(1) }}", 1, "'string'")]
    [InlineData("{% for x in y %}{{ loop.cycle }}{% endfor %}", 1, "'loop.cycle'")]
    [InlineData("{{ 1.5 }}", 1, "'1.")]
    [InlineData("{{ 0x10 }}", 1, "'0x10'")]
    [InlineData("{{ 007 }}", 1, "'007'")]
    [InlineData("{{ 99999999999999999999 }}", 1, "too large")]
    [InlineData("{{ 1 / 2 }}", 1, "'/'")]
    [InlineData("{{ 2 ** 3 }}", 1, "'**'")]
    [InlineData("{{ '\\N{DASH}' }}", 1, "\\N")]
    [InlineData("{{ '\\ud800' }}", 1, "\\u needs 4")]
    [InlineData("{{ '\\x4' }}", 1, "\\x needs 2")]
    [InlineData("{% for a, b in x %}{% endfor %}", 1, "single variables")]
    [InlineData("{% set x.y = 1 %}", 1, "single variables")]
    [InlineData("{% set none = 1 %}", 1, "'none'")]
    [InlineData("{% set loop = 1 %}", 1, "'loop'")]
    [InlineData("{% for x in y recursive %}{% endfor %}", 1, "'%}' is expected")]
    [InlineData("\n{% if x %}\n\n", 2, "'endif'")]
    [InlineData("{% for x in y %}{% else %}", 1, "'endfor'")]
    [InlineData("{% set x %}", 1, "'endset'")]
    [InlineData("a\n{% endif %}", 2, "'endif' ends nothing")]
    [InlineData("{% if x %}\n{% endfor %}", 2, "'endfor' does not belong to the 'if' of line 1")]
    [InlineData("{% if x %}{% else %}{% elif y %}{% endif %}", 1, "'elif' does not belong")]
    [InlineData("a\n{{ x", 2, "no end")]
    [InlineData("{# x", 1, "no end")]
    [InlineData("{{ 'x }}", 1, "no end")]
    [InlineData("{{ (1 }}", 1, "')' is expected")]
    [InlineData("{{ 1) }}", 1, "')' closes nothing")]
    [InlineData("{{ [1) }}", 1, "']' is expected")]
    [InlineData("{{ }}", 1, "a value is expected")]
    [InlineData("{{ 1 2 }}", 1, "'}}' is expected")]
    [InlineData("{{ a b }}", 1, "'}}' is expected")]
    [InlineData("{{ x | }}", 1, "the name of a filter")]
    [InlineData("{{ x. }}", 1, "the name of an attribute")]
    [InlineData("{{ x[] }}", 1, "a value is expected")]
    [InlineData("{{ x[1,2] }}", 1, "':' is expected")]
    [InlineData("{{ a ! b }}", 1, "'!'")]
    [InlineData("{{ and }}", 1, "a value is expected")]
    [InlineData("{% if %}{% endif %}", 1, "a value is expected")]
    [InlineData("{% for x of y %}{% endfor %}", 1, "'in' is expected")]
    public void The_line_and_the_culprit_are_named(string template, int line, string culprit)
    {
        var exception = Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse(template, "the.jinja", NoTokens));
        Assert.Equal(line, exception.Line);
        Assert.StartsWith($"the.jinja, line {line}: ", exception.Message, StringComparison.Ordinal);
        Assert.Contains(culprit, exception.Message);
    }

    [Theory]
    [InlineData("a\n{{ 1 +\n missing + 2 }}", 2)]
    [InlineData("{% if true %}\n{% for m in messages %}\n\n{{ m.content + 1 }}{% endfor %}{% endif %}", 4)]
    [InlineData("\n{% for x in 5 %}{% endfor %}", 2)]
    [InlineData("{# \n #}{%- if 'a' < 1 %}{% endif %}", 2)]
    [InlineData("'\n'{{ 'a\nb' + 'c' }}\n{{ none.x.y }}", 4)]
    public void Errors_while_rendering_name_the_line(string template, int line)
    {
        ChatTemplate loaded = ChatTemplate.Parse(template, "the.jinja", NoTokens);
        var exception = Assert.Throws<ChatTemplateException>(() => loaded.Render([new TemplateMessage("user", "x")], false));
        Assert.Equal(line, exception.Line);
        Assert.StartsWith("the.jinja, line ", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_refusal_by_the_template_has_its_words()
    {
        ChatTemplate template = ChatTemplate.Parse("\n{{ raise_exception('No ' + messages[0].role) }}", "the.jinja", NoTokens);
        var exception = Assert.Throws<ChatTemplateRaisedException>(() => template.Render([new TemplateMessage("system", "x")], false));
        Assert.Equal("No system", exception.Problem);
        Assert.Equal(2, exception.Line);
        Assert.Equal("the.jinja, line 2: No system", exception.Message);
    }

    [Fact]
    public void Missing_messages_roles_and_contents_are_refused()
    {
        ChatTemplate template = ChatTemplate.Parse("x", "the.jinja", NoTokens);
        Assert.Throws<ArgumentNullException>(() => template.Render(null!, false));
        Assert.Throws<ArgumentException>(() => template.Render([null!], false));
        Assert.Throws<ArgumentException>(() => template.Render([new TemplateMessage(null!, "x")], false));
        Assert.Throws<ArgumentException>(() => template.Render([new TemplateMessage("user", null!)], false));
    }
}
