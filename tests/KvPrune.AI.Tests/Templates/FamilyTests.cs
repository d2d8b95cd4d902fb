using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using KvPrune.AI.Templates;

namespace KvPrune.AI.Tests.Templates;

/// <summary>
/// Whole templates in the style of each family, compared with what Jinja 2 makes of them: families.json.gz, which
/// make_family_goldens.py makes and can show.
/// </summary>
public sealed class FamilyTests
{
    private static readonly Dictionary<string, string> Tokens =
        new() { ["bos_token"] = "<s>", ["eos_token"] = "</s>", ["pad_token"] = "<pad>" };

    private static readonly Lazy<JsonElement> Goldens = new(() =>
    {
        using FileStream file = File.OpenRead(TestFiles.Path("tests/KvPrune.AI.Tests/Templates/families.json.gz"));
        using var text = new GZipStream(file, CompressionMode.Decompress);
        using JsonDocument document = JsonDocument.Parse(text);
        return document.RootElement.Clone();
    });

    public static TheoryData<string> Families =>
        new(Directory.GetFiles(TestFiles.Path("tests/KvPrune.AI.Tests/Templates/families")).Select(Path.GetFileNameWithoutExtension).Order()!);

    [Theory]
    [MemberData(nameof(Families))]
    public void Every_conversation_renders_as_Jinja_renders_it(string family)
    {
        ChatTemplate template = Load(family);
        string[] hashes = [.. Goldens.Value.GetProperty("hashes").GetProperty(family).EnumerateArray().Select(hash => hash.GetString()!)];
        JsonElement[] conversations = [.. Goldens.Value.GetProperty("conversations").EnumerateArray()];
        Assert.Equal(200, conversations.Length);
        Assert.Equal(conversations.Length, hashes.Length);
        var differences = new List<string>();
        int rendered = 0;
        for (int i = 0; i < conversations.Length; i++)
        {
            string result = Render(template, conversations[i]);
            rendered += result.StartsWith("ok", StringComparison.Ordinal) ? 1 : 0;
            string hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(result)))[..16];
            if (hash != hashes[i])
                differences.Add($"{i}: {JsonSerializer.Serialize(result)}");
        }

        Assert.True(differences.Count == 0, $"{differences.Count} differ\n" + string.Join("\n", differences.Take(5)));
        Assert.True(rendered > 50, $"only {rendered} conversations suit the template");
    }

    [Theory]
    [MemberData(nameof(Families))]
    public void Special_tokens_come_from_the_template_alone(string family)
    {
        ChatTemplate template = Load(family);
        string[] foreigns = ["\uE000mark\uE001", "{{ 7 * 7 }}", "\U000E0041", "celsius"];
        int[] found = new int[foreigns.Length];
        foreach (JsonElement conversation in Goldens.Value.GetProperty("conversations").EnumerateArray())
        {
            (List<TemplateMessage> messages, List<JsonElement>? tools, bool prompt) = Read(conversation);
            if (TryRender(template, messages, tools, prompt) is not { } hostile)
                continue;
            // Marks that only messages and tools can bring in: none of them may lie outside the untrusted spans.
            List<TemplateMessage> marked = [.. messages.Select(message => message with { Content = message.Content + "\uE000mark\uE001" })];
            if (TryRender(template, marked, tools, prompt) is not { } rendered)
                continue;
            for (int i = 0; i < foreigns.Length; i++)
                found[i] += AssertUntrusted(rendered, foreigns[i]) + AssertUntrusted(hostile, foreigns[i]);
        }

        // "celsius" stands in tools only, which some templates do not use.
        int[] least = [200, 10, 2, template.Tools.Placement == ToolPlacement.None ? 0 : 10];
        Assert.All(found.Zip(least), count => Assert.True(count.First >= count.Second, string.Join(", ", found)));
    }

    /// <summary>How often the text stands in the prompt, each time within an untrusted span.</summary>
    private static int AssertUntrusted(RenderedPrompt prompt, string text)
    {
        int count = 0;
        for (int at = prompt.Text.IndexOf(text, StringComparison.Ordinal); at >= 0;
            at = prompt.Text.IndexOf(text, at + 1, StringComparison.Ordinal))
        {
            count++;
            Assert.Contains(prompt.UntrustedSpans, span => span.Start.Value <= at && span.End.Value >= at + text.Length);
        }

        return count;
    }

    private static ChatTemplate Load(string family) => ChatTemplate.Parse(
        File.ReadAllText(TestFiles.Path($"tests/KvPrune.AI.Tests/Templates/families/{family}.jinja")), family, Tokens, new FixedClock());

    private static RenderedPrompt? TryRender(
        ChatTemplate template, List<TemplateMessage> messages, List<JsonElement>? tools, bool prompt)
    {
        try
        {
            return template.Render(messages, prompt, tools);
        }
        catch (ChatTemplateException)
        {
            return null;
        }
    }

    private static string Render(ChatTemplate template, JsonElement conversation)
    {
        (List<TemplateMessage> messages, List<JsonElement>? tools, bool prompt) = Read(conversation);
        try
        {
            return "ok\n" + template.Render(messages, prompt, tools).Text;
        }
        catch (ChatTemplateRaisedException raised)
        {
            return "raised\n" + raised.Problem;
        }
        catch (ChatTemplateException)
        {
            return "error\n";
        }
    }

    private static (List<TemplateMessage> Messages, List<JsonElement>? Tools, bool Prompt) Read(JsonElement conversation) =>
    (
        [.. conversation.GetProperty("messages").EnumerateArray().Select(Message)],
        conversation.GetProperty("tools") is { ValueKind: JsonValueKind.Array } tools ? [.. tools.EnumerateArray()] : null,
        conversation.GetProperty("prompt").GetBoolean()
    );

    private static TemplateMessage Message(JsonElement message) =>
        new(message.GetProperty("role").GetString()!, message.GetProperty("content").GetString()!)
        {
            ToolCalls = !message.TryGetProperty("tool_calls", out JsonElement calls) ? [] :
            [
                .. calls.EnumerateArray().Select(call => new TemplateToolCall(
                    call.GetProperty("id").GetString()!, call.GetProperty("function").GetProperty("name").GetString()!,
                    call.GetProperty("function").GetProperty("arguments"))),
            ],
            ToolCallId = message.TryGetProperty("tool_call_id", out JsonElement id) ? id.GetString() : null,
            ToolName = message.TryGetProperty("name", out JsonElement name) ? name.GetString() : null,
        };
}
