using System.Diagnostics;
using System.Text;
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

    [Fact]
    public void Random_template_text_loads_and_renders_or_fails_with_a_typed_exception()
    {
        string[] pieces =
        [
            "{{", "}}", "{%", "%}", "{#", "#}", "{{-", "-}}", "{%-", "-%}", "+%}", " ", "\n", "'", "\"", "\\", "(", ")", "[", "]", "{", "}", ":", ",", ".",
            "|", "~", "+", "-", "*", "//", "%", "==", "<", " in ", " not ", " is ", " and ", " or ", " if ", " else ", "for x in messages", "endfor", "endif",
            "set x", "=", "endset", "elif", "messages", "loop", "index", "content", "role", "x", "0", "1", "7", "none", "true", "trim", "tojson", "string",
            "defined", "raise_exception('no')", "strip()", "{% if x %}", "{% endif %}", "{% for m in messages %}", "{% endfor %}", "{{ m.content }}",
            "{{ x }}", "é", "😀", "\u0000", "bos_token",
        ];
        var random = new Random(29);
        int rendered = 0;
        for (int i = 0; i < 20_000; i++)
        {
            var template = new StringBuilder();
            for (int k = random.Next(1, 25); k > 0; k--)
                template.Append(pieces[random.Next(pieces.Length)]);
            rendered += RendersOrFails(template.ToString()) ? 1 : 0;
        }

        Assert.InRange(rendered, 100, 19_000);
    }

    [Fact]
    public void Whole_templates_with_random_damage_load_and_render_or_fail_with_a_typed_exception()
    {
        string[] templates =
        [
            .. TestFiles.ReadJson("tests/KvPrune.AI.Tests/Templates/goldens.json").GetProperty("cases").EnumerateArray()
                .Select(golden => golden.GetProperty("template").GetString()!).Distinct().Where(template => template.Length > 20),
        ];
        var random = new Random(31);
        int rendered = 0;
        for (int i = 0; i < 10_000; i++)
        {
            var template = new StringBuilder(templates[random.Next(templates.Length)]);
            for (int k = random.Next(1, 4); k > 0 && template.Length > 1; k--)
            {
                int at = random.Next(template.Length);
                switch (random.Next(3))
                {
                    case 0: template.Remove(at, Math.Min(random.Next(1, 12), template.Length - at)); break;
                    case 1: template[at] = "{}%#'\"()[]-+|. x1\n"[random.Next(18)]; break;
                    default:
                        string other = templates[random.Next(templates.Length)];
                        int from = random.Next(other.Length);
                        template.Insert(at, other.AsSpan(from, Math.Min(20, other.Length - from)));
                        break;
                }
            }

            rendered += RendersOrFails(template.ToString()) ? 1 : 0;
        }

        Assert.InRange(rendered, 500, 9_500);
    }

    private static bool RendersOrFails(string template)
    {
        try
        {
            RenderedPrompt prompt = ChatTemplate.Parse(template, "fuzz", Tokens).Render(Messages, true);
            int end = 0;
            foreach (Range span in prompt.UntrustedSpans)
            {
                Assert.True(span.Start.Value >= end && span.End.Value > span.Start.Value && span.End.Value <= prompt.Text.Length);
                end = span.End.Value + 1;
            }

            return true;
        }
        catch (ChatTemplateException)
        {
            return false;
        }
    }

    private static string Repeat(string text, int count) => new StringBuilder(text.Length * count).Insert(0, text, count).ToString();
}
