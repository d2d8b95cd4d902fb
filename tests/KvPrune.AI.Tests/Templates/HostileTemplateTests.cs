using System.Diagnostics;
using System.Text;
using System.Text.Json;
using KvPrune.AI.Templates;

namespace KvPrune.AI.Tests.Templates;

/// <summary>No template hangs, exhausts the stack or fills the memory: each fails with a typed exception.</summary>
public sealed class HostileTemplateTests
{
    private static readonly Dictionary<string, string> Tokens = new() { ["bos_token"] = "<s>" };
    private static readonly TemplateMessage[] Messages =
        [new("user", " What is 2+2? "), new("assistant", "4"), new("user", "<|end|> 你好 😀")];

    public static TheoryData<string> DeepTemplates => new(
        "{{ " + new string('(', 100_000) + "1" + new string(')', 100_000) + " }}",
        "{{ " + new string('[', 400) + new string(']', 400) + " }}",
        "{{ " + Repeat("{'a':", 300) + "1" + new string('}', 300) + " }}",
        "{{ " + Repeat("- ", 900) + "1 }}",
        "{{ " + Repeat("not ", 900) + "1 }}",
        "{{ a" + Repeat("[a", 200) + Repeat("]", 200) + " }}",
        "{{ 1" + Repeat(" if 1 else 1", 200) + " }}",
        "{{ 1" + Repeat(" + 1", 100_000) + " }}",
        "{{ a" + Repeat(".a", 100_000) + " }}",
        Repeat("{% if 1 %}", 100_000),
        Repeat("{% for x in [1] %}", 300) + Repeat("{% endfor %}", 300));

    [Theory]
    [MemberData(nameof(DeepTemplates), DisableDiscoveryEnumeration = true)]
    public void Deep_nesting_is_refused_while_loading(string template) =>
        Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse(template, "deep", Tokens));

    [Theory]
    [InlineData(300)]
    public void What_the_limits_let_through_fits_a_small_stack(int operators)
    {
        string[] templates =
        [
            "{{ 1" + Repeat(" + 1", operators) + " }}",
            "{{ 'a'" + Repeat(" ~ 'a'", operators) + " }}",
            "{{ bos_token" + Repeat("|trim", operators) + " }}",
            "{{ bos_token" + Repeat("[0]", operators) + " }}",
            "{{ " + new string('(', 25) + "1" + new string(')', 25) + " }}",
            Repeat("{% if 1 %}", 35) + "{{ 1" + Repeat(" + 1", operators) + " }}" + Repeat("{% endif %}", 35),
        ];
        Exception? failure = null;
        var thread = new Thread(
            () =>
            {
                try
                {
                    foreach (string template in templates)
                        Assert.NotEmpty(ChatTemplate.Parse(template, "deep", Tokens).Render(Messages, true).Text);
                }
                catch (Exception exception)
                {
                    failure = exception;
                }
            },
            maxStackSize: 512 * 1024);
        thread.Start();
        thread.Join();
        Assert.Null(failure);
    }

    [Theory]
    [InlineData("{% set s = 'ab' %}" + "{% for a in messages[0].content %}{% for b in messages[0].content %}{% for c in messages[0].content %}"
        + "{% for d in messages[0].content %}{% for e in messages[0].content %}{% for f in messages[0].content %}{% for g in messages[0].content %}"
        + "{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}", "too long")]
    [InlineData("LOOP{% set x = x + x %}", "characters")]
    [InlineData("LOOP{{ x }}{% set x = x + x %}", "characters")]
    [InlineData("LOOP{% set x = x | tojson %}", "characters")]
    [InlineData("LIST{% set x = x + x %}", "too long")]
    [InlineData("LIST{% set x = [x, x] %}END{{ x | tojson }}", "too long|characters")]
    [InlineData("LIST{% set x = [x, x] %}END{% set y = x %}{{ x == [x[0], x[0]] }}", "too long")]
    [InlineData("DEEP{% set x = [x] %}END{{ x | tojson }}", "nested too deeply")]
    [InlineData("DEEP{% set x = [x] %}END{{ x == [x] }}{{ x in [[x]] }}{{ x | tojson }}", "nested too deeply")]
    public void Work_and_text_that_grow_without_bound_are_cut_off(string template, string problem)
    {
        // Variables do not outlive an iteration, so repetition has to be written out.
        template = template switch
        {
            _ when template.StartsWith("LOOP", StringComparison.Ordinal) => "{% set x = 'abcdefgh' %}" + Repeat(template[4..], 40),
            _ when template.StartsWith("LIST", StringComparison.Ordinal) => "{% set x = [1, 2] %}" + RepeatUpToEnd(template[4..], 28),
            _ when template.StartsWith("DEEP", StringComparison.Ordinal) => "{% set x = [1] %}" + RepeatUpToEnd(template[4..], 90),
            _ => template,
        };
        ChatTemplate loaded = ChatTemplate.Parse(template, "large", Tokens);
        var watch = Stopwatch.StartNew();
        var exception = Assert.Throws<ChatTemplateException>(() => loaded.Render(Messages, true));
        Assert.Contains(problem.Split('|'), part => exception.Message.Contains(part, StringComparison.Ordinal));
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(30), $"{watch.Elapsed}");
    }

    [Theory]
    [InlineData("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "call each other|nested too deeply")]
    [InlineData("{% macro f(a) %}{{ g(a ~ 'x') }}{% endmacro %}{% macro g(a) %}{{ f(a) ~ f(a) }}{% endmacro %}{{ f('') }}", "call each other|nested too deeply")]
    [InlineData("{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}", "too long")]
    [InlineData("{% macro f(n) %}{% if n %}{% set x = f(n - 1) ~ f(n - 1) %}{{ x }}{% else %}abcdefgh{% endif %}{% endmacro %}{{ f(60) }}", "characters|too long")]
    [InlineData("{% macro f(a=f()) %}{% endmacro %}{{ f() }}", "call each other|nested too deeply")]
    [InlineData("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "too long")]
    [InlineData("{% for a in range(100000) %}{% for b in range(100000) %}{% continue %}{% endfor %}{% endfor %}", "too long")]
    [InlineData("{{ range(1000000000000) }}", "100000 items")]
    [InlineData("{{ range(-9223372036854775807, 9223372036854775807) }}", "100000 items")]
    [InlineData("{{ range(9223372036854775807, -9223372036854775807, -9223372036854775807) | list }}{{ range(0, 1, 0) }}", "zero")]
    [InlineData("{% set ns = namespace(x='ab') %}{% for a in range(1000) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}", "characters")]
    [InlineData("{% set ns = namespace(x='ab') %}{% for a in range(1000) %}{% set ns.x = ns.x.replace('a', 'aa') %}{% endfor %}", "characters")]
    [InlineData("{% set ns = namespace(x=[1]) %}{% for a in range(1000) %}{% set ns.x = ns.x + ns.x %}{% endfor %}", "too long")]
    [InlineData("{% set ns = namespace(x=[1]) %}{% for a in range(1000) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}", "nested too deeply|characters")]
    [InlineData("{% set ns = namespace(x=[1]) %}{% for a in range(1000) %}{% set ns.x = {'a': ns.x} %}{% endfor %}{{ ns.x | tojson }}", "nested too deeply")]
    [InlineData("{% set ns = namespace(x=[1]) %}{% for a in range(50) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | string }}", "characters|too long")]
    [InlineData("{% set ns = namespace(x=[1]) %}{% for a in range(50) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson(sort_keys=true) }}", "characters|too long")]
    [InlineData("{% set ns = namespace(x=[1]) %}{% for a in range(50) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ [ns.x, [ns.x[0], ns.x[0]]] | unique | list }}{{ (ns.x,) == ([ns.x[0], ns.x[1]],) }}", "too long|does not work")]
    [InlineData("{% set ns = namespace(x=[1]) %}{% for a in range(50) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ ns.x == (ns.x[0], ns.x[1]) }}", "too long")]
    [InlineData("{{ 'abcdefgh' * 1000000000 }}", "characters")]
    [InlineData("{{ '' * 9223372036854775807 }}{{ [] * 9223372036854775807 }}{{ [1] * 9223372036854775807 }}", "too long")]
    [InlineData("{{ 'a\\nb' | indent(1000000000) }}", "characters")]
    [InlineData("{{ ('a\\n' * 2000) | indent('b' * 100000) }}", "characters")]
    [InlineData("{{ range(100000) | map('string') | join('x' * 1000) }}", "characters")]
    [InlineData("{{ ('x' * 900000).replace('x', 'y' * 900000) }}", "characters")]
    [InlineData("{% set x = 'x' * 900000 %}{% for a in range(100000) %}{{ x.split('x') | length }}{{ x.count('y') }}{{ x.find('y') }}{{ x == x }}{% endfor %}", "too long")]
    [InlineData("{% set x = 'x' * 900000 %}{% for a in range(100000) %}{% set y = x | upper | lower | title %}{% endfor %}", "too long")]
    [InlineData("{% set x = range(100000) | list %}{% for a in x %}{{ x | unique | list | length }}{% endfor %}", "too long")]
    [InlineData("{% set x = range(100000) | list %}{% for a in x %}{% set y = x | sort(reverse=true) %}{% endfor %}", "too long")]
    [InlineData("{% set x = range(100000) | list %}{% for a in x %}{% set y = x | select('in', x) | list %}{% endfor %}", "too long")]
    [InlineData("{% set x = range(100000) | list %}{% for a in x %}{% set y = [x | map('abs'), x | map(attribute='a', default=1)] %}{% endfor %}", "too long")]
    [InlineData("{% for a in range(100000) %}{% for b in range(100000) %}{% set c = strftime_now('%Y' * 1000) %}{% endfor %}{% endfor %}", "too long")]
    [InlineData("{{ ('a.' * 400000) ~ '' }}{{ messages | map(attribute='a.' * 400000) | list }}", "undefined|too long")]
    public void Macros_ranges_and_namespaces_do_not_lift_the_limits(string template, string problem)
    {
        ChatTemplate loaded = ChatTemplate.Parse(template, "large", Tokens);
        Exception? failure = null;
        var watch = Stopwatch.StartNew();
        var thread = new Thread(() => failure = Record.Exception(() => loaded.Render(Messages, true)), maxStackSize: 512 * 1024);
        thread.Start();
        thread.Join();
        var exception = Assert.IsType<ChatTemplateException>(failure);
        Assert.Contains(problem.Split('|'), part => exception.Message.Contains(part, StringComparison.Ordinal));
        Assert.True(exception.Line > 0);
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(30), $"{watch.Elapsed}");
    }

    [Fact]
    public void Schemas_as_deep_as_JSON_goes_are_rendered_by_recursive_macros()
    {
        ChatTemplate template = ChatTemplate.Parse(
            "{% macro f(s) %}<{% if s['items'] %}{{ f(s['items']) }}{% endif %}>{% endmacro %}{% for t in tools %}{{ f(t) }}{% endfor %}", "deep", Tokens);
        JsonElement schema = JsonSerializer.SerializeToElement(new { });
        for (int depth = 0; depth < 50; depth++)
            schema = JsonSerializer.SerializeToElement(new { items = schema });
        Assert.Equal(new string('<', 50) + new string('>', 50), template.Render(Messages, true, [schema]).Text);
    }

    // These write tools and calls before the template runs: phi-4-mini both, smollm3 calls only.
    [Theory]
    [InlineData("phi-4-mini", true, 61)]
    [InlineData("phi-4-mini", false, 62)]
    [InlineData("smollm3", false, 62)]
    public void Tools_and_calls_nested_too_deeply_to_be_written_name_the_template(string family, bool asTool, int depth)
    {
        JsonElement deep = JsonElement.Parse(Repeat("{\"a\":", depth) + "1" + new string('}', depth));
        AssertFails(family, asTool, deep, "nested too deeply");
        JsonElement shallow = JsonElement.Parse(Repeat("{\"a\":", 50) + "1" + new string('}', 50));
        Assert.Contains("\"a\"", Load(family).Render(Call(shallow), true, asTool ? [shallow] : null).Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("phi-4-mini", true)]
    [InlineData("phi-4-mini", false)]
    [InlineData("smollm3", false)]
    public void Tools_and_calls_too_long_to_be_written_name_the_template(string family, bool asTool)
    {
        // Each control character becomes six in JSON.
        JsonElement large = JsonSerializer.SerializeToElement(new { a = new string('\u0001', 700_000) });
        AssertFails(family, asTool, large, "characters");
    }

    private static void AssertFails(string family, bool asTool, JsonElement value, string problem)
    {
        ChatTemplate template = Load(family);
        var exception = Assert.Throws<ChatTemplateException>(() =>
            asTool ? template.Render(Messages, true, [value]) : template.Render(Call(value), true));
        Assert.Equal((family, 0), (exception.File, exception.Line));
        Assert.Contains(problem, exception.Message, StringComparison.Ordinal);
    }

    private static TemplateMessage[] Call(JsonElement arguments) =>
        [new("user", "?"), new("assistant", "") { ToolCalls = [new("abcdefghi", "f", arguments)] }];

    private static ChatTemplate Load(string family) => ChatTemplate.Parse(
        File.ReadAllText(TestFiles.Path($"tests/KvPrune.AI.Tests/Templates/families/{family}.jinja")), family, Tokens, new FixedClock());

    private static string RepeatUpToEnd(string template, int times)
    {
        string[] parts = template.Split("END");
        return Repeat(parts[0], times) + (parts.Length > 1 ? parts[1] : "");
    }

    [Fact]
    public void Long_honest_conversations_stay_within_the_limits()
    {
        ChatTemplate template = ChatTemplate.Load(TestFiles.Path("models/tiny-retrieval-llama"));
        TemplateMessage[] large = [new("user", new string('x', 5_000_000)), new("assistant", "y")];
        TemplateMessage[] many = [.. Enumerable.Range(0, 20_000).Select(i => new TemplateMessage("user", $"message {i}"))];
        Assert.True(template.Render(large, true).Text.Length > 5_000_000);
        Assert.True(template.Render(many, true).Text.Length > 20_000 * 15);
    }

    private static string Repeat(string text, int count) => new StringBuilder(text.Length * count).Insert(0, text, count).ToString();
}
