using System.Text.Json;
using System.Text.Json.Nodes;
using KvPrune.AI.Templates;

namespace KvPrune.AI.Tests.Templates;

public sealed class LoadingTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kvprune").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void The_bundled_template_writes_the_format_the_model_was_trained_on()
    {
        ChatTemplate template = ChatTemplate.Load(TestFiles.Path("models/tiny-retrieval-llama"));
        RenderedPrompt prompt = template.Render(
            [new("user", "Document.\nWhen?"), new("assistant", "1551"), new("user", " Where? ")], addGenerationPrompt: true);
        const string expected = "<|begin_of_text|><|user|>Document.\nWhen?<|end|><|assistant|> 1551<|end|><|user|>Where?<|end|><|assistant|>";
        Assert.Equal(expected, prompt.Text);
        Assert.Equal(
            ["Document.\nWhen?", "1551", "Where?"],
            prompt.UntrustedSpans.Select(span => prompt.Text[span]));
    }

    [Fact]
    public void The_beginning_of_a_conversation_renders_to_the_beginning_of_the_whole()
    {
        ChatTemplate template = ChatTemplate.Load(TestFiles.Path("models/tiny-retrieval-llama"));
        TemplateMessage[] messages = [new("user", "a"), new("assistant", "b"), new("user", "c"), new("assistant", "d"), new("user", "e")];
        string whole = template.Render(messages, true).Text;
        for (int count = 1; count < messages.Length; count += 2)
            Assert.StartsWith(template.Render(messages[..count], true).Text, whole, StringComparison.Ordinal);
    }

    [Fact]
    public void Special_tokens_may_be_text_or_objects_and_are_undefined_when_absent()
    {
        Write("tokenizer_config.json", new JsonObject
        {
            ["bos_token"] = "<s>",
            ["eos_token"] = new JsonObject { ["content"] = "</s>", ["lstrip"] = false },
            ["unk_token"] = null,
            ["chat_template"] = "{{ bos_token ~ eos_token ~ (unk_token is defined) ~ (pad_token is defined) }}",
        });
        Assert.Equal("<s></s>FalseFalse", Render());
    }

    [Fact]
    public void A_file_of_its_own_comes_before_the_entry_and_needs_no_configuration()
    {
        File.WriteAllText(Path.Combine(_folder, "chat_template.jinja"), "file {{ bos_token }}\n");
        Assert.Equal("file ", Render());
        Write("tokenizer_config.json", new JsonObject { ["bos_token"] = "<s>", ["chat_template"] = "entry" });
        Assert.Equal("file <s>", Render());
    }

    [Fact]
    public void Of_several_templates_the_one_named_default_is_taken()
    {
        JsonArray templates = JsonSerializer.Deserialize<JsonArray>(
            """[{ "name": "tool_use", "template": "tools" }, { "name": "default", "template": "plain" }]""")!;
        Write("tokenizer_config.json", new JsonObject { ["chat_template"] = templates });
        Assert.Equal("plain", Render());
    }

    [Theory]
    [InlineData("{}", "'chat_template'")]
    [InlineData("""{"chat_template": null}""", "'chat_template'")]
    [InlineData("""{"chat_template": 5}""", "'chat_template'")]
    [InlineData("""{"chat_template": [{"name": "rag", "template": "x"}]}""", "'default'")]
    [InlineData("""{"chat_template": [{"name": "default", "template": 5}]}""", "'chat_template'")]
    [InlineData("""{"chat_template": "x", "bos_token": 5}""", "'bos_token'")]
    [InlineData("""{"chat_template": "x", "bos_token": {}}""", "'bos_token'")]
    [InlineData("""{"chat_template": "\ud800"}""", "Unicode")]
    [InlineData("""{"chat_template": """, "JSON")]
    [InlineData("[]", "JSON object")]
    [InlineData("""{"chat_template": "a\n{{ x | format }}"}""", "line 2")]
    public void A_configuration_that_gives_no_template_is_refused(string json, string culprit)
    {
        string path = Path.Combine(_folder, "tokenizer_config.json");
        File.WriteAllText(path, json);
        var exception = Assert.Throws<ChatTemplateException>(() => ChatTemplate.Load(_folder));
        Assert.Contains(path, exception.Message);
        Assert.Contains(culprit, exception.Message);
    }

    [Fact]
    public void A_folder_without_the_files_is_refused_with_the_path()
    {
        Assert.Contains(_folder, Assert.Throws<ChatTemplateException>(() => ChatTemplate.Load(_folder)).Message);
        string missing = Path.Combine(_folder, "missing");
        Assert.Contains(missing, Assert.Throws<ChatTemplateException>(() => ChatTemplate.Load(missing)).Message);
        Assert.ThrowsAny<ArgumentException>(() => ChatTemplate.Load(""));
    }

    private string Render() => ChatTemplate.Load(_folder).Render([], false).Text;

    private void Write(string name, JsonNode json) => File.WriteAllText(Path.Combine(_folder, name), json.ToJsonString());
}
