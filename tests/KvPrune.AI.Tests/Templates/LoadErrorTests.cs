using System.Text.Json;
using KvPrune.AI.Templates;

namespace KvPrune.AI.Tests.Templates;

/// <summary>What the interpreter does not know fails when the template loads, with the line.</summary>
public sealed class LoadErrorTests
{
    private static readonly Dictionary<string, string> NoTokens = [];

    [Theory]
    [InlineData("a\n\n{% call f() %}{% endcall %}", 3, "'call'")]
    [InlineData("{% macro f() %}\n{{ caller() }}{% endmacro %}", 1, "'caller'")]
    [InlineData("{% macro f(a=1, b) %}{% endmacro %}", 1, "'b' has no default")]
    [InlineData("{% macro f(a, a) %}{% endmacro %}", 1, "two parameters 'a'")]
    [InlineData("{% macro f(varargs) %}{% endmacro %}", 1, "'varargs'")]
    [InlineData("{% macro f %}{% endmacro %}", 1, "'(' is expected")]
    [InlineData("\n{% macro f() %}", 2, "'endmacro'")]
    [InlineData("{% macro f() %}{% endmacro %}\n{{ g() }}", 2, "'g'")]
    [InlineData("{% macro f() %}{% endmacro %}{{ f(*x) }}", 1, "'*'")]
    [InlineData("{% macro f() %}{% endmacro %}{{ f(a=1, 2) }}", 1, "follows one with a name")]
    [InlineData("{% macro f() %}{% endmacro %}{{ f(a=1, a=2) }}", 1, "'a' is given twice")]
    [InlineData("\n{% generation %}", 2, "'endgeneration'")]
    [InlineData("{% raw %}{{ x }}{% endraw %}", 1, "'raw'")]
    [InlineData("{% if x %}\n{% break %}{% endif %}", 2, "'break' stands in no loop")]
    [InlineData("{% for x in y %}{% else %}{% continue %}{% endfor %}", 1, "'continue' stands in no loop")]
    [InlineData("{% for x in y %}{% macro f() %}{% break %}{% endmacro %}{% endfor %}", 1, "'break' stands in no loop")]
    [InlineData("{% include 'x' %}", 1, "'include'")]
    [InlineData("{% %}", 1, "the name of a statement")]
    [InlineData("{{ x | filesizeformat }}", 1, "'filesizeformat'")]
    [InlineData("{{ x |\n format }}", 2, "'format'")]
    [InlineData("{{ x | tojson(width=2) }}", 1, "no argument 'width'")]
    [InlineData("{{ x | replace('a') }}", 1, "needs the argument 'new'")]
    [InlineData("{{ x | replace('a', 'b', old='c') }}", 1, "'old' of 'replace' is given twice")]
    [InlineData("{{ x | map }}", 1, "'map' takes")]
    [InlineData("{{ x | map('nothing') }}", 1, "'nothing'")]
    [InlineData("{{ x | map(y) }}", 1, "in quotes")]
    [InlineData("{{ x | map(attribute='a', other=1) }}", 1, "'map' takes")]
    [InlineData("{{ x | select('nothing') }}", 1, "'nothing'")]
    [InlineData("{{ x | select('eq') }}", 1, "takes one argument")]
    [InlineData("{{ x | selectattr }}", 1, "needs an attribute")]
    [InlineData("{{ x | select(test='eq') }}", 1, "no arguments with names")]
    [InlineData("{{ x | trim('a', 'b') }}", 1, "'trim'")]
    [InlineData("\n{{ lipsum(x=1) }}", 2, "'lipsum'")]
    [InlineData("{{ namespace(1, 2) }}", 1, "'namespace' takes")]
    [InlineData("{{ range() }}", 1, "'range' takes")]
    [InlineData("\n{{ strftime_now('%U') }}", 2, "'%U'")]
    [InlineData("{{ strftime_now('%') }}", 1, "'%'")]
    [InlineData("{{ x.append(1) }}", 1, "'append'")]
    [InlineData("{{ x.items(1) }}", 1, "'items' takes at most 0")]
    [InlineData("{{ x.get() }}", 1, "needs the argument 'key'")]
    [InlineData("{{ x['a']() }}", 1, "this call")]
    [InlineData("{{ raise_exception() }}", 1, "needs a message")]
    [InlineData("{{ raise_exception('a', 'b') }}", 1, "'raise_exception'")]
    [InlineData("{{ x is escaped }}", 1, "'escaped'")]
    [InlineData("{{ x is divisibleby }}", 1, "a value is expected")]
    [InlineData("{{ x is string(1) }}", 1, "'string'")]
    [InlineData("{% for x in y %}{{ loop.cycle }}{% endfor %}", 1, "'loop.cycle'")]
    [InlineData("{{ 1.5x }}", 1, "'1.5x'")]
    [InlineData("{{ 1_000 }}", 1, "'1_000'")]
    [InlineData("{{ 0x10 }}", 1, "'0x10'")]
    [InlineData("{{ 007 }}", 1, "'007'")]
    [InlineData("{{ 99999999999999999999 }}", 1, "too large")]
    [InlineData("{{ 2 ** 3 }}", 1, "'**'")]
    [InlineData("{{ '\\N{DASH}' }}", 1, "\\N")]
    [InlineData("{{ '\\ud800' }}", 1, "\\u needs 4")]
    [InlineData("{{ '\\x4' }}", 1, "\\x needs 2")]
    [InlineData("{% for a.b in x %}{% endfor %}", 1, "not attributes")]
    [InlineData("{% set a, b %}{% endset %}", 1, "'=' is expected")]
    [InlineData("{% set (a, b = x %}", 1, "')' is expected")]
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
        JsonElement half = JsonDocument.Parse("""{"a": ["\ud800"]}""").RootElement;
        Assert.Throws<ArgumentException>(() => template.Render([], false, [half]));
        Assert.Throws<ArgumentException>(() => template.Render([new TemplateMessage("assistant", "") { ToolCalls = [new("1", "f", half)] }], false));
    }
}
