using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using KvPrune.AI.Chat;
using KvPrune.AI.Templates;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Tests.Chat;

public sealed class ToolCallScannerTests
{
    private static readonly JsonSerializerOptions Relaxed = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
    private static readonly HashSet<string> Names = ["add", "get_weather"];

    public static TheoryData<string, string, string, string> Answers => new()
    {
        // Format, answer, text, calls.
        { "qwen2.5", "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n</tool_call>", "", "add{\"a\":1}" },
        { "qwen2.5", "Let me see.\n<tool_call>{\"name\":\"add\"}</tool_call>\n<tool_call>{\"name\":\"b\",\"arguments\":{}}</tool_call>\n", "Let me see.", "add{}b{}" },
        { "qwen2.5", "<tool_call>{\"name\":\"add\",\"arguments\":\"{\\\"a\\\":[1,null]}\"}</tool_call> Done. ", "Done. ", "add{\"a\":[1,null]}" },
        { "qwen2.5", "<tool_call>{\"name\":\"add\",\"arguments\":{\"a\":\"</tool_call>\"}}</tool_call>", "", "add{\"a\":\"</tool_call>\"}" },
        { "qwen2.5", "<tool_call>\n{\"name\": \"add\", \"arguments\": {}}", "", "add{}" },
        { "qwen2.5", "a <tool_call>add(1)</tool_call> b", "a <tool_call>add(1)</tool_call> b", "" },
        { "qwen2.5", "<tool_call>{\"name\":\"add\",\"arguments\":{}</tool_call> b <tool_call>{\"name\":\"add\"}</tool_call>", "<tool_call>{\"name\":\"add\",\"arguments\":{}</tool_call> b", "add{}" },
        { "qwen2.5", "<tool_call>{\"name\":\"add\",\"arguments\":{\"a\":\"x</tool_call>\\\"</tool_call>\",\"b\":[1]}}</tool_call>", "", "add{\"a\":\"x</tool_call>\\\"</tool_call>\",\"b\":[1]}" },
        { "qwen2.5", "a <tool_call>{\"name\": 5}</tool_call>", "a <tool_call>{\"name\": 5}</tool_call>", "" },
        { "qwen2.5", "a <tool_call>{\"name\": \"add\", \"arguments\": [1]}</tool_call>", "a <tool_call>{\"name\": \"add\", \"arguments\": [1]}</tool_call>", "" },
        { "qwen2.5", "a <tool_call>{\"name\": \"add\", \"argu", "a <tool_call>{\"name\": \"add\", \"argu", "" },
        { "qwen2.5", "<tool_call>x <tool_call>{\"name\":\"add\"}</tool_call>", "<tool_call>x", "add{}" },
        { "qwen2.5", "<tool_call></tool_call>", "<tool_call></tool_call>", "" },
        { "qwen2.5", "<tool_call>{\"name\":\"\\ud800\"}</tool_call>", "<tool_call>{\"name\":\"\\ud800\"}</tool_call>", "" },
        { "qwen2.5", "<tool_call>{\"name\":\"a\",\"arguments\":{\"x\":{\"y\":\"\\udc00\"}}}</tool_call>", "<tool_call>{\"name\":\"a\",\"arguments\":{\"x\":{\"y\":\"\\udc00\"}}}</tool_call>", "" },
        { "qwen2.5", " 1 < 2 and <tool_\n", " 1 < 2 and <tool_\n", "" },
        { "qwen2.5", "{\"name\": \"add\", \"parameters\": {}}", "{\"name\": \"add\", \"parameters\": {}}", "" },
        { "qwen2.5", "", "", "" },
        { "mistral-v3", "[TOOL_CALLS] [{\"name\": \"add\", \"arguments\": {\"a\": 1}, \"id\": \"abc\"}, {\"name\": \"get_weather\", \"arguments\": {}}]", "", "add{\"a\":1}get_weather{}" },
        { "mistral-v3", "[TOOL_CALLS] [{\"name\": \"add\"}] and more", "[TOOL_CALLS] [{\"name\": \"add\"}] and more", "" },
        { "mistral-v3", "Hi [TOOL", "Hi [TOOL", "" },
        { "phi-4-mini", "<|tool_call|>[{\"name\": \"add\", \"arguments\": {\"a\": 1}}]<|/tool_call|>", "", "add{\"a\":1}" },
        { "phi-4-mini", "<|tool_call|>[]<|/tool_call|>", "<|tool_call|>[]<|/tool_call|>", "" },
        { "llama-3.1", "{\"name\": \"add\", \"parameters\": {\"a\": 1}}", "", "add{\"a\":1}" },
        { "llama-3.1", " \n{\"name\": \"add\", \"parameters\": {}}; {\"name\": \"get_weather\", \"parameters\": {}}\n", "", "add{}get_weather{}" },
        { "llama-3.1", "<|python_tag|>{\"name\": \"other\", \"parameters\": {\"a\": 1}}", "", "other{\"a\":1}" },
        { "llama-3.1", "{\"name\": \"other\", \"parameters\": {\"a\": 1}}", "{\"name\": \"other\", \"parameters\": {\"a\": 1}}", "" },
        { "llama-3.1", "{\"name\": \"add\", \"parameters\": {}} is how", "{\"name\": \"add\", \"parameters\": {}} is how", "" },
        { "llama-3.1", "Sure: {\"name\": \"add\", \"parameters\": {}}", "Sure: {\"name\": \"add\", \"parameters\": {}}", "" },
        { "llama-3.1", "<|python_tag|>print(1)", "<|python_tag|>print(1)", "" },
        { "llama-3.1", " ", " ", "" },
    };

    [Theory]
    [MemberData(nameof(Answers))]
    public void Calls_are_taken_out_wherever_the_text_is_cut(string family, string answer, string text, string calls)
    {
        ToolCallFormat format = ToolCallFormat.Find(ScriptedModel.Family(family))!;
        var random = new Random(5);
        for (int attempt = 0; attempt < 40; attempt++)
        {
            var scanner = new ToolCallScanner(format, Names);
            var shown = new StringBuilder();
            for (int at = 0; at < answer.Length;)
            {
                int length = attempt == 0 ? 1 : Math.Min(random.Next(1, 12), answer.Length - at);
                shown.Append(scanner.Append(answer.Substring(at, length)));
                at += length;
            }
            shown.Append(scanner.Finish());
            Assert.Equal(text, shown.ToString());
            Assert.Equal(calls, string.Concat(scanner.Calls.Select(call => call.Name + JsonSerializer.Serialize(call.Arguments, Relaxed))));
            Assert.All(scanner.Calls, call => Assert.Matches("^[A-Za-z0-9]{9}$", call.CallId));
        }
    }

    [Fact]
    public void Plain_text_is_shown_at_once()
    {
        var scanner = new ToolCallScanner(ToolCallFormat.Tagged, Names);
        Assert.Equal("Hello", scanner.Append("Hello"));
        Assert.Equal(" world", scanner.Append(" world"));
        Assert.Equal("", scanner.Append(" <tool"));
        Assert.Equal(" <tools>", scanner.Append("s>"));
        var llama = new ToolCallScanner(ToolCallFormat.Llama, Names);
        Assert.Equal("H", llama.Append("H"));
        Assert.Equal("{", llama.Append("{"));
    }

    [Fact]
    public void A_malformed_call_is_shown_as_soon_as_its_closing_stands()
    {
        var scanner = new ToolCallScanner(ToolCallFormat.Tagged, Names);
        const string malformed = "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": 1}</tool_call>";
        Assert.Equal(malformed, string.Concat(malformed.Select(character => scanner.Append($"{character}"))));
        Assert.Equal(" and more", scanner.Append(" and more"));
        Assert.Empty(scanner.Calls);
    }

    [Fact]
    public void A_long_argument_full_of_marks_is_read_in_a_moment()
    {
        var scanner = new ToolCallScanner(ToolCallFormat.Tagged, Names);
        string argument = string.Concat(Enumerable.Repeat("</tool_call> ", 400));
        string answer = "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": \"" + argument + "\"}}</tool_call>";
        // Each mark is parsed up to once; parsing all of them at every character would allocate gigabytes.
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Equal("", string.Concat(answer.Select(character => scanner.Append($"{character}"))) + scanner.Finish());
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.Equal(argument, ((JsonElement)Assert.Single(scanner.Calls).Arguments!["a"]!).GetString());
        Assert.True(allocated < 50_000_000, $"{allocated}");
    }

    [Fact]
    public void Random_answers_lose_nothing_and_never_fail()
    {
        string[] pieces =
        [
            "<tool_call>", "</tool_call>", "<|tool_call|>", "<|/tool_call|>", "[TOOL_CALLS]", "<|python_tag|>", "{", "}", "[", "]", "\"name\"", ":", "\"add\"", ",",
            "\"arguments\"", "{}", "{\"name\": \"add\"}", "<tool_call>{\"name\": \"add\"}</tool_call>", "{\"name\": \"get_weather\", \"arguments\": {}}", "null", "1e999", "\"\\ud800\"", "\\", " ", "\n", "text", "😀", "\uD83D", "<", ";", new string('[', 100),
        ];
        var random = new Random(11);
        int called = 0;
        foreach (ToolCallFormat format in (ToolCallFormat[])[ToolCallFormat.Tagged, ToolCallFormat.Mistral, ToolCallFormat.Phi, ToolCallFormat.Llama])
        {
            for (int i = 0; i < 4_000; i++)
            {
                string[] answer = [.. Enumerable.Range(0, random.Next(1, 12)).Select(_ => pieces[random.Next(pieces.Length)])];
                var scanner = new ToolCallScanner(format, Names);
                string shown = string.Concat(answer.Select(scanner.Append)) + scanner.Finish();
                if (scanner.Calls.Count == 0) Assert.Equal(string.Concat(answer), shown);
                else called++;
            }
        }
        Assert.True(called > 100, $"{called}");
    }
}
