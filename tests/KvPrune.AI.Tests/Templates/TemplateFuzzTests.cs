using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using KvPrune.AI.Templates;

namespace KvPrune.AI.Tests.Templates;

/// <summary>Any text whatever loads and renders, or fails with a <see cref="ChatTemplateException"/>, in bounded time.</summary>
/// <remarks>
/// For longer than a moment, with other random numbers each time:
/// <code>
/// KVPRUNE_TEMPLATE_FUZZ_SECONDS=600 dotnet tests/KvPrune.AI.Tests/bin/Release/net10.0/KvPrune.AI.Tests.dll --filter-class "*TemplateFuzzTests"
/// </code>
/// A failure names the template.
/// </remarks>
public sealed class TemplateFuzzTests
{
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(20);
    private static readonly Dictionary<string, string> Tokens = new() { ["bos_token"] = "<s>", ["eos_token"] = "</s>" };

    private static readonly JsonElement Schema = JsonDocument.Parse("""
        {"type": "function", "function": {"name": "f", "description": "d <|end|>", "parameters": {"type": "object", "properties":
        {"items": {"type": ["string", "null"], "default": 1.5}, "b": {"type": "array", "items": {"enum": ["x", 1]}}}, "required": ["b"]}}}
        """).RootElement;

    private static readonly TemplateMessage[] Messages =
    [
        new("system", "Be /think"), new("user", " What is 2+2? "),
        new("assistant", "<think>\nhm</think>4") { ToolCalls = [new("abcdefghi", "f", JsonDocument.Parse("""{"b": [1, {"c": null}]}""").RootElement)] },
        new("tool", "{}") { ToolCallId = "abcdefghi", ToolName = "f" },
        new("assistant", "4"), new("user", "<|end|> 你好 😀"),
    ];

    private static readonly string[] Pieces =
    [
        "{{", "}}", "{%", "%}", "{#", "#}", "{{-", "-}}", "{%-", "-%}", "+%}", " ", "\n", "'", "\"", "\\", "(", ")", "[", "]", "{", "}", ":", ",", ".",
        "|", "~", "+", "-", "*", "/", "//", "%", "==", "<", " in ", " not ", " is ", " and ", " or ", " if ", " else ", "for x in messages", "for k, v in x.items()",
        "endfor", "endif", "set x", "set ns.x", "set a, b", "=", "endset", "elif", "break", "continue", "macro f(a, b=1)", "endmacro", "f(", "f(x)", "ns",
        "namespace(x=1)", "range(3)", "strftime_now('%Y')", "generation", "endgeneration", "messages", "tools", "loop", "index", "content", "role", "x", "0", "1",
        "7", "-1", "1.5", "1e9", "none", "true", "trim", "tojson", "string", "defined", "raise_exception('no')", "strip()", "split('a')", "replace('a', 'b')",
        "items()", "get('role')", "map(attribute='role')", "selectattr('role', 'eq', 'user')", "list", "join(',')", "sort", "unique", "dictsort", "default(1)",
        "length", "indent(2)", "first", "last", "int", "upper", "title", "divisibleby 2", "{% if x %}", "{% endif %}", "{% for m in messages %}", "{% endfor %}",
        "{{ m.content }}", "{{ x }}", "é", "😀", "\u0000", "\uD83D", "bos_token", "99999999", "'x' * ",
    ];

    private readonly Random _random;
    private readonly Stopwatch _watch = Stopwatch.StartNew();
    private readonly double _seconds;

    public TemplateFuzzTests()
    {
        string? asked = Environment.GetEnvironmentVariable("KVPRUNE_TEMPLATE_FUZZ_SECONDS");
        _seconds = asked is null ? 0 : double.Parse(asked, CultureInfo.InvariantCulture);
        _random = asked is null ? new Random(29) : new Random();
    }

    [Fact]
    public void Random_template_text()
    {
        int rendered = 0;
        int count = 0;
        for (; count < 20_000 || _watch.Elapsed.TotalSeconds < _seconds; count++)
        {
            var template = new StringBuilder();
            for (int k = _random.Next(1, 25); k > 0; k--)
                template.Append(Pieces[_random.Next(Pieces.Length)]);
            rendered += RendersOrFails(template.ToString()) ? 1 : 0;
        }

        Assert.InRange(rendered, count / 200, count);
    }

    [Fact]
    public void Whole_templates_with_random_damage()
    {
        string[] templates =
        [
            .. Directory.GetFiles(TestFiles.Path("tests/KvPrune.AI.Tests/Templates/families")).Order().Select(File.ReadAllText),
            .. TestFiles.ReadJson("tests/KvPrune.AI.Tests/Templates/goldens.json").GetProperty("cases").EnumerateArray()
                .Select(golden => golden.GetProperty("template").GetString()!).Distinct().Where(template => template.Length > 20),
        ];
        int rendered = 0;
        int count = 0;
        for (; count < 6_000 || _watch.Elapsed.TotalSeconds < _seconds; count++)
        {
            // Half of them whole families, of which there are fewer.
            string original = templates[_random.Next(count % 2 == 0 ? 14 : templates.Length)];
            rendered += RendersOrFails(Damage(original, templates)) ? 1 : 0;
        }

        Assert.InRange(rendered, count / 20, count);
    }

    private string Damage(string original, string[] templates)
    {
        var template = new StringBuilder(original);
        for (int k = _random.Next(1, 4); k > 0 && template.Length > 1; k--)
        {
            int at = _random.Next(template.Length);
            switch (_random.Next(5))
            {
                case 0: template.Remove(at, Math.Min(_random.Next(1, 12), template.Length - at)); break;
                case 1: template[at] = "{}%#'\"()[]-+|. x1\n"[_random.Next(18)]; break;
                case 2: template.Insert(at, Pieces[_random.Next(Pieces.Length)]); break;
                case 3: template.Replace(template.ToString(at, Math.Min(_random.Next(2, 8), template.Length - at)), Pieces[_random.Next(Pieces.Length)]); break;
                default:
                    string other = templates[_random.Next(templates.Length)];
                    int from = _random.Next(other.Length);
                    template.Insert(at, other.AsSpan(from, Math.Min(_random.Next(60), other.Length - from)));
                    break;
            }
        }

        return template.ToString();
    }

    private static bool RendersOrFails(string template)
    {
        var watch = Stopwatch.StartNew();
        try
        {
            RenderedPrompt prompt = ChatTemplate.Parse(template, "fuzz", Tokens).Render(Messages, true, [Schema, Schema]);
            int end = 0;
            foreach (Range span in prompt.UntrustedSpans)
            {
                Assert.True(span.Start.Value >= end && span.End.Value > span.Start.Value && span.End.Value <= prompt.Text.Length, template);
                end = span.End.Value + 1;
            }

            return true;
        }
        catch (ChatTemplateException)
        {
            return false;
        }
        catch (Exception exception)
        {
            Assert.Fail($"{exception}\n{template}");
            throw;
        }
        finally
        {
            Assert.True(watch.Elapsed < Longest, $"{watch.Elapsed} for {template}");
        }
    }
}
