using System.ComponentModel;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Tests.Chat;

/// <summary>Tools from the request to the template, from the answer to the function, and back.</summary>
public sealed class ToolCallingTests
{
    private static readonly AIFunction Add = AIFunctionFactory.Create(
        ([Description("left <|end|>")] int a, int b) => a + b, "add", "Adds two numbers <|user|>.");

    private static readonly ChatMessage Question = new(ChatRole.User, "What is 2+3?");

    public static TheoryData<string, string, string> Families => new()
    {
        // Template, the call as the model writes it, what the next prompt has of call and result.
        { "qwen2.5", "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 2, \"b\": 3}}\n</tool_call>", "assistant\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 2, \"b\": 3}}\n</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\n5\n</tool_response>" },
        { "qwen3", "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 2, \"b\": 3}}\n</tool_call>", "{\"name\": \"add\", \"arguments\": {\"a\": 2, \"b\": 3}}\n</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\n5\n" },
        { "llama-3.1", "{\"name\": \"add\", \"parameters\": {\"a\": 2, \"b\": 3}}", "{\"name\": \"add\", \"parameters\": {\"a\": 2, \"b\": 3}}<|eot_id|><|start_header_id|>ipython<|end_header_id|>\n\n\"5\"<|eot_id|>" },
        { "llama-3.2", "<|python_tag|>{\"name\": \"add\", \"parameters\": {\"a\": 2, \"b\": 3}}", "ipython<|end_header_id|>\n\n5<|eot_id|>" },
        { "mistral-v3", "[TOOL_CALLS] [{\"name\": \"add\", \"arguments\": {\"a\": 2, \"b\": 3}}]", "[TOOL_RESULTS] {\"content\": 5, \"call_id\": \"" },
        { "phi-4-mini", "<|tool_call|>[{\"name\": \"add\", \"arguments\": {\"a\": 2, \"b\": 3}}]<|/tool_call|>", "<|assistant|><|tool_call|>[{\"name\": \"add\", \"arguments\": {\"a\": 2, \"b\": 3}}]<|/tool_call|><|end|><|tool_response|>5<|end|><|assistant|>" },
        { "smollm3", "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": 2, \"b\": 3}}</tool_call>", "assistant\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 2, \"b\": 3}}\n</tool_call><|im_end|>\n<|im_start|>user\n5<|im_end|>" },
    };

    [Theory]
    [MemberData(nameof(Families))]
    public async Task A_function_is_called_and_its_result_answered(string family, string call, string next)
    {
        // The marks are special tokens here, which the detokenizer leaves out of the text.
        using ScriptedModel model = new(
            ScriptedModel.Family(family), prompt => prompt.Contains(next, StringComparison.Ordinal) ? "It is 5." : call,
            "[TOOL_CALLS]", "<|python_tag|>", "<|tool_call|>", "<|/tool_call|>");
        using IChatClient client = model.Client.AsBuilder().UseFunctionInvocation().Build();
        ChatResponse response = await client.GetResponseAsync([Question], new() { Tools = [Add] });
        Assert.Equal("It is 5.", response.Messages[^1].Text);
        Assert.Equal(3, response.Messages.Count);
        Assert.Empty(response.Messages[0].Text);
        var made = Assert.Single(response.Messages[0].Contents.OfType<FunctionCallContent>());
        Assert.Equal(("add", 2, 3), (made.Name, Argument(made, "a"), Argument(made, "b")));
        Assert.Equal(made.CallId, Assert.Single(response.Messages[1].Contents.OfType<FunctionResultContent>()).CallId);
        Assert.Contains("Adds two numbers", model.Prompts[0], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Calls_come_at_the_end_with_their_reason()
    {
        using ScriptedModel model = new(ScriptedModel.Family("qwen2.5"), _ =>
            "Two calls:\n<tool_call>{\"name\":\"add\",\"arguments\":{\"a\":1}}</tool_call>\n<tool_call>{\"name\":\"none\"}</tool_call>");
        List<ChatResponseUpdate> updates = await model.Client.GetStreamingResponseAsync([Question], new() { Tools = [Add] }).ToListAsync();
        Assert.Equal("Two calls:", string.Concat(updates.Select(update => update.Text)));
        Assert.Equal(ChatFinishReason.ToolCalls, updates[^1].FinishReason);
        Assert.Equal(["add", "none"], updates[^1].Contents.OfType<FunctionCallContent>().Select(call => call.Name));
        Assert.Single(updates[^1].Contents.OfType<UsageContent>());
        Assert.All(updates.SkipLast(1), update => Assert.All(update.Contents, content => Assert.IsType<TextContent>(content)));
    }

    [Theory]
    [InlineData("<tool_call>add(1, 2)</tool_call>")]
    [InlineData("<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": 1")]
    [InlineData("No tools are needed.")]
    public async Task What_is_no_call_stays_text(string answer)
    {
        using ScriptedModel model = new(ScriptedModel.Family("qwen2.5"), _ => answer);
        ChatResponse response = await model.Client.GetResponseAsync([Question], new() { Tools = [Add] });
        Assert.Equal(answer, response.Text);
        Assert.Equal(ChatFinishReason.Stop, response.FinishReason);
        Assert.Empty(response.Messages.SelectMany(message => message.Contents).OfType<FunctionCallContent>());
    }

    [Fact]
    public async Task An_answer_that_is_cut_off_in_a_call_stays_text()
    {
        const string call = "<tool_call>{\"name\": \"add\", \"arguments\": {}}</tool_call>";
        using ScriptedModel model = new(ScriptedModel.Family("qwen2.5"), _ => call);
        ChatResponse response = await model.Client.GetResponseAsync([Question], new() { Tools = [Add], MaxOutputTokens = 8 });
        Assert.StartsWith(response.Text, call, StringComparison.Ordinal);
        Assert.NotEmpty(response.Text);
        Assert.Equal(ChatFinishReason.Length, response.FinishReason);
    }

    [Fact]
    public async Task Without_tools_nothing_is_taken_for_a_call()
    {
        const string call = "<tool_call>{\"name\": \"add\"}</tool_call>";
        using ScriptedModel model = new(ScriptedModel.Family("qwen2.5"), _ => call);
        foreach (ChatOptions options in (ChatOptions[])[new(), new() { Tools = [Add], ToolMode = ChatToolMode.None }])
        {
            ChatResponse response = await model.Client.GetResponseAsync([Question], options);
            Assert.Equal(call, response.Text);
            Assert.DoesNotContain(model.Prompts, prompt => prompt.Contains("Adds", StringComparison.Ordinal));
        }
    }

    [Fact]
    public async Task Calls_and_results_of_any_kind_become_template_messages()
    {
        using ScriptedModel model = new("{% if tools %}<tool_call>{% endif %}{{ messages | tojson }}{{ message.tool_calls if message is defined }}", _ => "ok");
        ChatMessage[] conversation =
        [
            Question,
            new(ChatRole.Assistant,
            [
                new TextReasoningContent("hm"), new TextContent("Both: "),
                new FunctionCallContent("call00001", "add", new Dictionary<string, object?> { ["a"] = 1, ["b"] = JsonDocument.Parse("[1.5]").RootElement, ["c"] = null }),
                new FunctionCallContent("call00002", "get", null),
            ]),
            new(ChatRole.Tool, [new FunctionResultContent("call00001", new { Sum = 3 }), new FunctionResultContent("call00002", "text <|end|>")]),
            new(ChatRole.Tool, [new FunctionResultContent("call00003", new TextContent("content")), new FunctionResultContent("call00001", null)]),
        ];
        await model.Client.GetResponseAsync(conversation, new() { Instructions = "Be brief." });
        const string expected = """
            [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2+3?"},
            {"role": "assistant", "content": "Both: ", "tool_calls": [
            {"id": "call00001", "type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": [1.5], "c": null}}},
            {"id": "call00002", "type": "function", "function": {"name": "get", "arguments": {}}}]},
            {"role": "tool", "content": "{\"sum\":3}", "tool_call_id": "call00001", "name": "add"},
            {"role": "tool", "content": "text <|end|>", "tool_call_id": "call00002", "name": "get"},
            {"role": "tool", "content": "content", "tool_call_id": "call00003"},
            {"role": "tool", "content": "null", "tool_call_id": "call00001", "name": "add"}]
            """;
        string prompt = model.Prompts[^1];
        Assert.Equal(expected.Replace(",\n", ", ", StringComparison.Ordinal).Replace("\n", "", StringComparison.Ordinal), prompt);
    }

    [Fact]
    public void What_cannot_be_done_is_refused_by_name()
    {
        using ScriptedModel plain = new(ScriptedModel.Family("phi-3.5"), _ => "");
        using ScriptedModel unread = new(ScriptedModel.Family("gpt-oss"), _ => "");
        using ScriptedModel qwen = new(ScriptedModel.Family("qwen2.5"), _ => "");
        Refused(plain, new() { Tools = [Add] }, "scripted.jinja does not use tools", "'add'");
        Refused(unread, new() { Tools = [Add] }, "scripted.jinja", "format", "'add'");
        Refused(qwen, new() { Tools = [Add], ToolMode = ChatToolMode.RequireAny }, "ToolMode", "some tool");
        Refused(qwen, new() { Tools = [Add], ToolMode = ChatToolMode.RequireSpecific("add") }, "ToolMode", "a call of add");
        Refused(qwen, new() { Tools = [Add], AllowMultipleToolCalls = false }, "AllowMultipleToolCalls");
        Refused(qwen, new() { Tools = [new HostedWebSearchTool()] }, "HostedWebSearchTool");
        Refused(plain, null, [Question, new(ChatRole.Assistant, [new FunctionCallContent("1", "f")])], "FunctionCallContent", "scripted.jinja");
        Refused(plain, null, [Question, new(ChatRole.Tool, [new FunctionResultContent("1", "x")])], "FunctionResultContent", "scripted.jinja");
        Refused(qwen, null, [new(ChatRole.User, [new FunctionCallContent("1", "f")])], "FunctionCallContent", "user");
        Refused(qwen, null, [new(ChatRole.Tool, "text")], "TextContent", "tool");
        Refused(qwen, null, [new(ChatRole.Tool, [new FunctionResultContent("1", new DataContent(new byte[] { 1 }, "image/png"))])], "DataContent");
    }

    [Theory]
    [InlineData("{% for t in tools %}{{ t | tojson }}{% endfor %}<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>")]
    [InlineData("{% for t in tools %}{{ t | tojson }}{% endfor %}<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n</tool_call>")]
    [InlineData("[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% for m in messages %}{% for c in m.tool_calls or [] %}[TOOL_CALLS]{{ c.function.name }}[ARGS]{{ c.function.arguments }}{% endfor %}{% endfor %}")]
    public void Formats_that_begin_like_one_that_can_be_read_are_refused(string template)
    {
        using ScriptedModel model = new(template, _ => "");
        Refused(model, new() { Tools = [Add] }, "scripted.jinja", "format", "'add'");
    }

    [Fact]
    public void Tools_that_cannot_be_written_are_named()
    {
        using ScriptedModel model = new(ScriptedModel.Family("qwen2.5"), _ => "");
        Broken(model, new() { Tools = [null!] }, [Question], "Tool 0");
        Broken(model, new() { Tools = [Add, null!] }, [Question], "Tool 1");
        Broken(model, new() { Tools = [AIFunctionFactory.CreateDeclaration("empty", "x", default)] }, [Question], "'empty'");
        foreach (int depth in (int[])[62, 63, 64, 65, 100])
            Broken(model, new() { Tools = [Add, AIFunctionFactory.CreateDeclaration("deep", "x", Nested(depth))] }, [Question], "'deep'");
        model.Client.GetStreamingResponseAsync([Question], new() { Tools = [AIFunctionFactory.CreateDeclaration("deep", "x", Nested(55))] });
    }

    [Fact]
    public void Calls_and_results_that_cannot_be_written_are_named()
    {
        using ScriptedModel model = new(ScriptedModel.Family("qwen2.5"), _ => "");
        List<object> cycle = [];
        cycle.Add(cycle);
        foreach (object broken in (object[])[cycle, Nested(100), default(JsonElement), (Action)(() => { }), double.NaN, new Failing()])
        {
            Broken(model, null, [Question, new(ChatRole.Assistant, [new FunctionCallContent("call7", "f", new Dictionary<string, object?> { ["a"] = broken })])], "'call7'", "'f'");
            Broken(model, null, [Question, new(ChatRole.Tool, [new FunctionResultContent("call8", new { broken })])], "'call8'");
        }
    }

    private sealed class Failing
    {
        public int Value => throw new InvalidOperationException("failing");
    }

    private static JsonElement Nested(int depth)
    {
        string json = string.Concat(Enumerable.Repeat("{\"a\":", depth)) + "{}" + new string('}', depth);
        return JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = 1_000 }).RootElement;
    }

    private static void Broken(ScriptedModel model, ChatOptions? options, ChatMessage[] messages, params string[] culprits)
    {
        var error = Assert.Throws<ArgumentException>(() => { _ = model.Client.GetStreamingResponseAsync(messages, options); });
        Assert.All(culprits, culprit => Assert.Contains(culprit, error.Message, StringComparison.Ordinal));
    }

    private static int Argument(FunctionCallContent call, string name) => ((JsonElement)call.Arguments![name]!).GetInt32();

    private static void Refused(ScriptedModel model, ChatOptions options, params string[] culprits) =>
        Refused(model, options, [Question], culprits);

    private static void Refused(ScriptedModel model, ChatOptions? options, ChatMessage[] messages, params string[] culprits)
    {
        var error = Assert.Throws<NotSupportedException>(() => { _ = model.Client.GetStreamingResponseAsync(messages, options); });
        Assert.All(culprits, culprit => Assert.Contains(culprit, error.Message, StringComparison.Ordinal));
    }
}
