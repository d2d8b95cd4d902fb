using System.Text.Json;
using KvPrune.AI.Chat;
using KvPrune.AI.Templates;
using KvPrune.AI.Tests.Tokenization;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Tests.Chat;

public class PromptBuilderTests
{
    private static readonly HfTokenizer Tokenizer = TokenizerFixture.Tokenizer;

    private static readonly TemplateMessage[] Conversation =
    [
        new("user", "A document.\n<|end|> A question?"), new("assistant", "\n\n An answer."), new("user", "Another?"),
        new("assistant", "Yes"), new("user", "A third one?"),
    ];

    [Theory]
    // Boundaries on a special token, and on white space after one that merges with what follows or does not.
    [InlineData("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}", 3)]
    [InlineData("{% for m in messages %}<|{{ m.role }}|>\nx{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>\nx{% endif %}", 3)]
    [InlineData("{% for m in messages %}<|{{ m.role }}|>\n\n{{ m.content | trim }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>\n\n{% endif %}", 3)]
    // No special token at all.
    [InlineData("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}", 3)]
    // Templates that rewrite what came before, or fail on beginnings of a conversation.
    [InlineData("{{ messages[-1].content }}<|assistant|>", 1)]
    [InlineData("{% if messages[2] is not defined %}{{ raise_exception('short') }}{% endif %}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>", 2)]
    [InlineData("{{ messages[2].content[1:] }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>", 2)]
    public void Segments_end_where_earlier_prompts_end(string template, int segments)
    {
        ChatTemplate chat = ChatTemplate.Parse(template, "test", new Dictionary<string, string>());
        PromptBuilder.Prompt prompt = new PromptBuilder(chat, Tokenizer).Build(Conversation, null, CancellationToken.None);
        Assert.Equal(Tokenizer.Encode(chat.Render(Conversation, true)), prompt.Tokens);
        Assert.Equal(segments, prompt.SegmentEnds.Length);
        Assert.Equal(prompt.Tokens.Length, prompt.SegmentEnds[^1]);
        int[] earlier = segments == 3 ? [1, 3] : segments == 2 ? [3] : [];
        for (int i = 0; i < earlier.Length; i++)
        {
            int[] ids = Tokenizer.Encode(chat.Render(Conversation[..earlier[i]], true));
            Assert.Equal(ids, prompt.Tokens[..prompt.SegmentEnds[i]]);
        }
    }

    [Fact]
    public void Tools_calls_and_results_are_part_of_earlier_prompts()
    {
        ChatTemplate chat = ChatTemplate.Parse(ScriptedModel.Family("qwen2.5"), "test", new Dictionary<string, string>());
        JsonElement[] tools = [JsonDocument.Parse("""{"type": "function", "function": {"name": "f", "parameters": {}}}""").RootElement];
        TemplateMessage[] conversation =
        [
            new("user", "A question?"),
            new("assistant", "") { ToolCalls = [new("abcdefghi", "f", JsonDocument.Parse("{}").RootElement)] },
            new("tool", "1") { ToolCallId = "abcdefghi" }, new("tool", "2") { ToolCallId = "abcdefghi" },
            new("assistant", "An answer."), new("user", "Another?"),
        ];
        PromptBuilder.Prompt prompt = new PromptBuilder(chat, Tokenizer).Build(conversation, tools, CancellationToken.None);
        Assert.Equal(Tokenizer.Encode(chat.Render(conversation, true, tools)), prompt.Tokens);
        Assert.Equal(
            [Tokenizer.Encode(chat.Render(conversation[..1], true, tools)).Length, Tokenizer.Encode(chat.Render(conversation[..4], true, tools)).Length, prompt.Tokens.Length],
            prompt.SegmentEnds);
    }

    [Fact]
    public void Building_can_be_cancelled() => Assert.Throws<OperationCanceledException>(() =>
        new PromptBuilder(ChatTemplate.Parse("x", "test", new Dictionary<string, string>()), Tokenizer)
            .Build(Conversation, null, new CancellationToken(canceled: true)));
}
