using System.Text.Json;
using KvPrune.AI.Templates;

namespace KvPrune.AI.Tests.Templates;

/// <summary>Compares with goldens.json, which make_goldens.py makes with Jinja 2.</summary>
public sealed class GoldenTests
{
    private static readonly JsonElement Goldens = TestFiles.ReadJson("tests/KvPrune.AI.Tests/Templates/goldens.json");
    private static readonly Dictionary<string, string> Tokens =
        Goldens.GetProperty("tokens").EnumerateObject().ToDictionary(token => token.Name, token => token.Value.GetString()!);

    [Fact]
    public void Every_template_renders_as_Jinja_renders_it_or_fails_where_it_fails()
    {
        var differences = new List<string>();
        int count = 0;
        foreach (JsonElement golden in Goldens.GetProperty("cases").EnumerateArray())
        {
            count++;
            string expected = Expected(golden);
            string actual = Render(golden);
            if (actual != expected)
                differences.Add($"{golden.GetProperty("name")}\n{golden.GetProperty("template")}\nexpected {expected}\nactual   {actual}\n");
        }

        Assert.True(count > 800, $"only {count} cases");
        Assert.True(differences.Count == 0, $"{differences.Count} differ\n" + string.Join("\n", differences.Take(10)));
    }

    private static string Expected(JsonElement golden)
    {
        if (golden.TryGetProperty("raised", out JsonElement raised))
            return "raised: " + raised.GetString();
        return golden.TryGetProperty("output", out JsonElement output) ? JsonSerializer.Serialize(output.GetString()) : "error";
    }

    private static string Render(JsonElement golden)
    {
        // A template of the golden file has to load: only rendering may fail.
        ChatTemplate template = ChatTemplate.Parse(golden.GetProperty("template").GetString()!, "golden", Tokens, new FixedClock());
        JsonElement conversation = Goldens.GetProperty("conversations").GetProperty(golden.GetProperty("conversation").GetString()!);
        List<TemplateMessage> messages =
            [.. conversation.EnumerateArray().Select(turn => new TemplateMessage(
                turn.GetProperty("role").GetString()!, turn.GetProperty("content").GetString()!))];
        try
        {
            return JsonSerializer.Serialize(template.Render(messages, golden.GetProperty("add_generation_prompt").GetBoolean()).Text);
        }
        catch (ChatTemplateRaisedException exception)
        {
            return "raised: " + exception.Problem;
        }
        catch (ChatTemplateException)
        {
            return "error";
        }
    }
}
