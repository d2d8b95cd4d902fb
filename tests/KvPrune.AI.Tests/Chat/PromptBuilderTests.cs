using System.Text.Json;
using KvPrune.AI.Chat;
using KvPrune.AI.Engine;
using KvPrune.AI.Templates;
using KvPrune.AI.Tests.Tokenization;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Tests.Chat;

public class PromptBuilderTests
{
    private const int ContextLength = 100_000;

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
        PromptBuilder.Prompt prompt = new PromptBuilder(chat, Tokenizer, ContextLength).Build(Conversation, null, shareDocuments: true, CancellationToken.None);
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
        PromptBuilder.Prompt prompt = new PromptBuilder(chat, Tokenizer, ContextLength).Build(conversation, tools, shareDocuments: true, CancellationToken.None);
        Assert.Equal(Tokenizer.Encode(chat.Render(conversation, true, tools)), prompt.Tokens);
        Assert.Equal(
            [Tokenizer.Encode(chat.Render(conversation[..1], true, tools)).Length, Tokenizer.Encode(chat.Render(conversation[..4], true, tools)).Length, prompt.Tokens.Length],
            prompt.SegmentEnds);
    }

    [Fact]
    public void Building_can_be_cancelled() => Assert.Throws<OperationCanceledException>(() =>
        new PromptBuilder(ChatTemplate.Parse("x", "test", new Dictionary<string, string>()), Tokenizer, ContextLength)
            .Build(Conversation, null, shareDocuments: true, new CancellationToken(canceled: true)));

    [Fact]
    public void A_long_conversation_takes_a_bounded_number_of_renderings()
    {
        var template = new CountingTemplate();
        PromptBuilder.Prompt prompt = new PromptBuilder(template, Tokenizer, ContextLength).Build(LongConversation(1_000), null, shareDocuments: true, CancellationToken.None);
        Assert.Equal(1 + PromptBuilder.MaxInnerEnds, template.Renderings);
        Assert.Equal(1 + PromptBuilder.MaxInnerEnds, prompt.SegmentEnds.Length);
    }

    [Fact]
    public void A_conversation_that_goes_on_keeps_the_ends_it_had()
    {
        var builder = new PromptBuilder(new CountingTemplate(), Tokenizer, ContextLength);
        int[] before = [];
        for (int turns = 1; turns < 2 * PromptBuilder.MaxInnerEnds + 20; turns += 2)
        {
            int[] ends = builder.Build(LongConversation(turns), null, shareDocuments: true, CancellationToken.None).SegmentEnds;
            // Within the bound the end of the whole prompt is among them too.
            Assert.Equal(before.Take(PromptBuilder.MaxInnerEnds), ends.Take(Math.Min(before.Length, PromptBuilder.MaxInnerEnds)));
            before = ends;
        }
        Assert.Equal(1 + PromptBuilder.MaxInnerEnds, before.Length);
    }

    [Fact]
    public void A_prompt_that_is_too_long_is_refused_after_one_rendering()
    {
        var template = new CountingTemplate();
        int length = new PromptBuilder(template, Tokenizer, ContextLength).Build(Conversation, null, shareDocuments: true, CancellationToken.None).Tokens.Length;
        Assert.Equal(length, new PromptBuilder(template, Tokenizer, length + 1).Build(Conversation, null, shareDocuments: true, CancellationToken.None).Tokens.Length);
        template.Renderings = 0;
        var error = Assert.Throws<PromptTooLongException>(() => new PromptBuilder(template, Tokenizer, length).Build(Conversation, null, shareDocuments: true, CancellationToken.None));
        Assert.Equal((length, length), (error.PromptTokens, error.ContextLength));
        Assert.Equal(1, template.Renderings);
    }

    [Fact]
    public void Shared_documents_end_segments_which_stay_when_the_conversation_goes_on()
    {
        var template = new CountingTemplate();
        var builder = new PromptBuilder(template, Tokenizer, ContextLength);
        TemplateMessage[] conversation =
        [
            new("system", "Be brief."), Document("One document."), Document("Another one."), new("user", "A question?"),
            new("assistant", "An answer."), Document("A late one."), new("user", "Another?"),
        ];
        int Length(int messages, bool prompt) => Tokenizer.Encode(template.Render(conversation[..messages], prompt)).Length;
        int[] ends = [Length(3, false), Length(4, true), Length(6, false), Length(7, true)];
        Assert.Equal(ends, Ends(conversation));
        Assert.Equal(ends[..2], Ends(conversation[..4]));
        Assert.Equal([ends[0], Length(3, true)], Ends(conversation[..3]));
        Assert.Equal([ends[1], ends[3]], builder.Build(conversation, null, shareDocuments: false, CancellationToken.None).SegmentEnds);

        int[] Ends(TemplateMessage[] messages) => builder.Build(messages, null, shareDocuments: true, CancellationToken.None).SegmentEnds;
        static TemplateMessage Document(string text) => new("user", text) { IsSharedDocument = true };
    }

    private static TemplateMessage[] LongConversation(int messages) =>
        [.. Enumerable.Range(0, messages).Select(i => new TemplateMessage(i % 2 == 0 ? "user" : "assistant", $"message {i}"))];

    private sealed class CountingTemplate : IChatTemplate
    {
        private readonly IChatTemplate _template = ChatTemplate.Parse(
            "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
            "test", new Dictionary<string, string>());

        public int Renderings { get; set; }

        public ToolConventions Tools => _template.Tools;

        public RenderedPrompt Render(IReadOnlyList<TemplateMessage> messages, bool addGenerationPrompt, IReadOnlyList<JsonElement>? tools = null)
        {
            Renderings++;
            return _template.Render(messages, addGenerationPrompt, tools);
        }
    }
}
