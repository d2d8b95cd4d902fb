using System.Text;
using System.Text.Json;
using KvPrune.AI.Chat;
using KvPrune.AI.Engine;
using KvPrune.AI.Sampling;
using KvPrune.AI.Tests.Chat;
using Microsoft.Extensions.AI;

[assembly: AssemblyFixture(typeof(KvPrune.AI.Tests.Runtimes.GenAI.GenAIClient))]

namespace KvPrune.AI.Tests.Runtimes.GenAI;

/// <summary>Grammars are enforced whatever the model would rather say: at high temperature the tiny one says anything.</summary>
public sealed class GuidanceTests(GenAIClient genai)
{
    private static readonly FactDocument Document = FactDocument.Create(seed: 31, sentences: 12, facts: 2);

    private KvPrunedChatClient Client => genai.Client;

    [Theory]
    [InlineData("person", """{"type":"object","properties":{"name":{"type":"string","maxLength":20},"age":{"type":"integer","minimum":0,"maximum":150},"member":{"type":"boolean"}},"required":["name","age","member"],"additionalProperties":false}""")]
    [InlineData("choice", """{"type":"object","properties":{"colour":{"enum":["red","green","dark blue"]},"size":{"const":7}},"required":["colour","size"],"additionalProperties":false}""")]
    [InlineData("list", """{"type":"object","properties":{"points":{"type":"array","minItems":1,"maxItems":3,"items":{"type":"object","properties":{"x":{"type":"integer","minimum":-9,"maximum":9}},"required":["x"],"additionalProperties":false}}},"required":["points"],"additionalProperties":false}""")]
    public async Task Every_answer_fits_its_schema(string name, string schema)
    {
        for (int seed = 0; seed < 4; seed++)
        {
            ChatResponse answer = await Client.GetResponseAsync(Document.Ask(Document.Facts[0]), new ChatOptions
            {
                ResponseFormat = ChatResponseFormat.ForJsonSchema(JsonElement.Parse(schema), name),
                Temperature = seed == 0 ? 0 : 0.7f * seed,
                Seed = seed,
                MaxOutputTokens = 400,
            });
            Assert.Equal(ChatFinishReason.Stop, answer.FinishReason);
            using JsonDocument json = JsonDocument.Parse(answer.Text);
            Assert.True(Fits(name, json.RootElement), answer.Text);
        }
    }

    [Fact]
    public async Task An_answer_can_be_asked_for_as_a_type()
    {
        ChatResponse<Ticket> answer = await Client.GetResponseAsync<Ticket>(
            Document.Ask(Document.Facts[0]), new ChatOptions { Temperature = 1, Seed = 8, MaxOutputTokens = 200 });
        Assert.True(Enum.IsDefined(answer.Result.State));
        Assert.Matches("""^\{"isUrgent": (true|false), "state": "(Open|Closed)"\}$""", answer.Text); // no property is made up
    }

    [Fact]
    public async Task Parts_of_a_schema_are_merged()
    {
        JsonElement schema = JsonElement.Parse("""
            {"allOf":[{"type":"object","properties":{"a":{"const":1}},"required":["a"]},
                      {"type":"object","properties":{"b":{"const":2}},"required":["b"],"additionalProperties":true}]}
            """);
        ChatResponse answer = await Client.GetResponseAsync(
            Document.Ask(Document.Facts[0]), new ChatOptions { ResponseFormat = ChatResponseFormat.ForJsonSchema(schema), MaxOutputTokens = 20 });
        Assert.StartsWith("""{"a": 1, "b": 2""", answer.Text);
    }

    [Theory]
    [InlineData("""{"type":"object","properties":{"a":{"const":1}},"required":["a"],"anyOf":[{"properties":{"b":{"const":2}},"required":["b"]}]}""", "a,b")]
    [InlineData("""{"description":"no \"allOf\"","type":"object","properties":{"a":{"const":1}},"required":["a"]}""", "a")]
    [InlineData("""{"anyOf":[{"type":"object","properties":{"a":{"const":1}},"required":["a"]},{"type":"object","properties":{"b":{"const":2}},"required":["b"]}]}""", "a|b")]
    public async Task Objects_are_closed_where_that_leaves_them_possible(string schema, string keys)
    {
        for (int seed = 0; seed < 3; seed++)
        {
            ChatOptions options = new() { ResponseFormat = ChatResponseFormat.ForJsonSchema(JsonElement.Parse(schema)), Temperature = 1, Seed = seed, MaxOutputTokens = 30 };
            ChatResponse answer = await Client.GetResponseAsync(Document.Ask(Document.Facts[0]), options);
            if (keys == "a,b") Assert.StartsWith("""{"a": 1, "b": 2""", answer.Text);
            else Assert.Contains(Keys(JsonElement.Parse(answer.Text)), keys.Split('|'));
        }
    }

    [Fact]
    public async Task Json_without_a_schema_is_an_object()
    {
        for (int seed = 0; seed < 4; seed++)
        {
            ChatResponse answer = await Client.GetResponseAsync(Document.Ask(Document.Facts[0]), new ChatOptions
            {
                ResponseFormat = ChatResponseFormat.Json, Temperature = 1, Seed = seed, MaxOutputTokens = 60,
            });
            Assert.StartsWith("{", answer.Text);
            RequireJson(answer.Text, isWhole: answer.FinishReason == ChatFinishReason.Stop);
        }
    }

    [Theory]
    [InlineData(@"[A-Z][a-z]{2,5}-[0-9]{3}( (yes|no))?")]
    [InlineData(@"(é|ü|straße){3}")]
    public async Task Every_answer_is_matched_by_its_regular_expression(string pattern)
    {
        for (int seed = 0; seed < 5; seed++)
        {
            ChatOptions options = new ChatOptions { Temperature = 1.5f, Seed = seed }.WithGuidance(Guidance.Regex(pattern));
            ChatResponse answer = await Client.GetResponseAsync(Document.Ask(Document.Facts[1]), options);
            Assert.Equal(ChatFinishReason.Stop, answer.FinishReason);
            Assert.Matches($"^(?:{pattern})$", answer.Text);
        }
    }

    [Fact]
    public async Task Every_answer_follows_its_lark_grammar()
    {
        Guidance sums = Guidance.Lark("""
            start: NUMBER ("+" NUMBER){1,3} "="
            NUMBER: /[1-9][0-9]?/
            """);
        for (int seed = 0; seed < 5; seed++)
        {
            ChatResponse answer = await Client.GetResponseAsync(
                Document.Ask(Document.Facts[1]), new ChatOptions { Temperature = 2, Seed = seed }.WithGuidance(sums));
            Assert.Matches(@"^[1-9][0-9]?(\+[1-9][0-9]?){1,3}=$", answer.Text);
        }
    }

    [Fact]
    public async Task A_streamed_answer_is_the_same_text()
    {
        ChatOptions Options() => new ChatOptions { Temperature = 1, Seed = 3 }.WithGuidance(Guidance.Regex("[a-z]{10,30}\\."));
        ChatResponse whole = await Client.GetResponseAsync(Document.Ask(Document.Facts[0]), Options());
        List<ChatResponseUpdate> updates = await Client.GetStreamingResponseAsync(Document.Ask(Document.Facts[0]), Options()).ToListAsync();
        Assert.True(updates.Count > 3);
        Assert.Equal(whole.Text, string.Concat(updates.Select(update => update.Text)));
        Assert.Matches("^[a-z]{10,30}\\.$", whole.Text);
    }

    [Fact]
    public async Task An_answer_that_is_cut_says_so()
    {
        ChatOptions options = new ChatOptions { MaxOutputTokens = 5 }.WithGuidance(Guidance.Regex("[0-9]{40}"));
        ChatResponse answer = await Client.GetResponseAsync(Document.Ask(Document.Facts[0]), options);
        Assert.Equal(ChatFinishReason.Length, answer.FinishReason);
        Assert.Equal(5, answer.Usage!.OutputTokenCount);
        Assert.Matches("^[0-9]{5,}$", answer.Text);
    }

    [Fact]
    public async Task Guided_requests_and_others_run_side_by_side()
    {
        Task<ChatResponse>[] answers =
        [
            .. Enumerable.Range(0, 6).Select(i => Client.GetResponseAsync(
                Document.Ask(Document.Facts[i % 2]),
                i % 3 == 0 ? new ChatOptions() : new ChatOptions { Temperature = 1, Seed = i }.WithGuidance(Guidance.Regex(i % 3 == 1 ? "[0-9]{8}" : "[A-Z]{8}")))),
        ];
        string[] texts = [.. (await Task.WhenAll(answers)).Select(answer => answer.Text.Trim())];
        for (int i = 0; i < texts.Length; i++)
        {
            if (i % 3 == 0) Assert.Equal(Document.Facts[i % 2].Answer, texts[i]);
            else Assert.Matches(i % 3 == 1 ? "^[0-9]{8}$" : "^[A-Z]{8}$", texts[i]);
        }
    }

    [Theory]
    [InlineData("regex", "(")]
    [InlineData("lark", "start: NOTHING")]
    [InlineData("schema", """{"type":"no such type"}""")]
    public async Task A_grammar_that_cannot_be_used_is_refused_in_the_words_of_its_reader(string kind, string grammar)
    {
        Guidance guidance = kind switch { "regex" => Guidance.Regex(grammar), "lark" => Guidance.Lark(grammar), _ => Guidance.JsonSchema(grammar) };
        var error = await Assert.ThrowsAsync<ArgumentException>(
            () => Client.GetResponseAsync(Document.Ask(Document.Facts[0]), new ChatOptions().WithGuidance(guidance)));
        Assert.Contains("grammar", error.Message, StringComparison.OrdinalIgnoreCase);
        ChatResponse next = await Client.GetResponseAsync(Document.Ask(Document.Facts[0]));
        Assert.Equal(Document.Facts[0].Answer, next.Text.Trim());
    }

    [Fact]
    public void Two_grammars_or_a_grammar_and_tools_are_refused_at_once()
    {
        ChatOptions both = new ChatOptions { ResponseFormat = ChatResponseFormat.Json }.WithGuidance(Guidance.Regex("a"));
        Refused(both, "WithGuidance");
        Refused(new ChatOptions { ResponseFormat = ChatResponseFormat.Json, Tools = [AIFunctionFactory.Create(() => 1, "lookup")] }, "tools");
    }

    /// <summary>Throws a JsonException unless the text is JSON, or what JSON can begin with.</summary>
    private static void RequireJson(string text, bool isWhole)
    {
        var reader = new Utf8JsonReader(Encoding.UTF8.GetBytes(text), isWhole, default);
        while (reader.Read())
        {
        }
    }

    private void Refused(ChatOptions options, string culprit)
    {
        var error = Assert.Throws<NotSupportedException>(() => { _ = Client.GetStreamingResponseAsync(Document.Ask(Document.Facts[0]), options); });
        Assert.Contains(culprit, error.Message, StringComparison.Ordinal);
    }

    internal enum TicketState
    {
        Open,
        Closed,
    }

    internal sealed record Ticket(bool IsUrgent, TicketState State);

    private static bool Fits(string name, JsonElement json) => name switch
    {
        "person" => Keys(json) == "age,member,name" && json.GetProperty("name").GetString()!.EnumerateRunes().Count() <= 20
            && json.GetProperty("age").GetInt32() is >= 0 and <= 150 && json.GetProperty("member").ValueKind is JsonValueKind.True or JsonValueKind.False,
        "choice" => Keys(json) == "colour,size" && json.GetProperty("colour").GetString() is "red" or "green" or "dark blue" && json.GetProperty("size").GetInt32() == 7,
        _ => Keys(json) == "points" && json.GetProperty("points").GetArrayLength() is >= 1 and <= 3
            && json.GetProperty("points").EnumerateArray().All(point => Keys(point) == "x" && point.GetProperty("x").GetInt32() is >= -9 and <= 9),
    };

    private static string Keys(JsonElement json) => string.Join(',', json.EnumerateObject().Select(property => property.Name).Order(StringComparer.Ordinal));
}
