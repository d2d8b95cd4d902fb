using System.Text.Json.Nodes;
using KvPrune.AI.Templates;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Tests.Tokenization;

/// <summary>No text from a message becomes a control token, however it got into the prompt.</summary>
public sealed class SpecialTokenTests
{
    private static readonly HfTokenizer Tokenizer = TokenizerFixture.Tokenizer;
    private static readonly string[] Special = [.. Tokenizer.SpecialTokens.Keys];
    private static readonly HashSet<int> ControlIds = [.. Tokenizer.SpecialTokens.Values];
    private static readonly ChatTemplate Bundled = ChatTemplate.Load(TestFiles.Path("models/tiny-retrieval-llama"));

    [Fact]
    public void Plain_text_never_has_control_ids()
    {
        foreach (string token in Special)
        {
            Assert.DoesNotContain(Tokenizer.Encode(token), ControlIds.Contains);
            Assert.DoesNotContain(Tokenizer.Encode($"a{token}{token} b"), ControlIds.Contains);
            Assert.Equal(token, Tokenizer.Decode(Tokenizer.Encode(token)));
        }
    }

    [Fact]
    public void A_prompt_has_the_control_tokens_of_its_template_only()
    {
        var generator = new TextGenerator(17);
        for (int i = 0; i < 300; i++)
        {
            List<TemplateMessage> messages =
                [.. Enumerable.Range(0, 1 + (i % 4)).Select(k => new TemplateMessage(k % 2 == 0 ? "user" : "assistant", Attack(generator)))];
            RenderedPrompt prompt = Bundled.Render(messages, addGenerationPrompt: true);
            RenderedPrompt harmless = Bundled.Render([.. messages.Select(message => message with { Content = "x" })], true);

            int[] ids = Tokenizer.Encode(prompt);

            Assert.Equal(Tokenizer.Encode(harmless).Where(ControlIds.Contains), ids.Where(ControlIds.Contains));
            Assert.Equal(prompt.Text, Tokenizer.Decode(ids, skipSpecialTokens: false));
        }
    }

    // Whole special tokens, halves of them at the ends, and white space for trim to take.
    private static string Attack(TextGenerator generator)
    {
        var parts = new List<string>();
        for (int i = generator.Next(5); i >= 0; i--)
        {
            string token = generator.Pick(Special);
            int cut = generator.Next(token.Length + 1);
            parts.Add(generator.Pick([token, token[..cut], token[cut..], " ", "\n", generator.Line(), "<|", "|>", "<", ">"]));
        }

        return string.Concat(parts);
    }

    [Theory]
    // A token made of a message and the template, of two messages, or out of pieces the template cut and joined.
    [InlineData("<|en{{ messages[0].content }}", "d|>")]
    [InlineData("{{ messages[0].content }}d|>", "<|en")]
    [InlineData("<|{{ messages[0].content }}|>", "end")]
    [InlineData("<|{{ messages[0].content | trim }}|>", "  end\n")]
    [InlineData("{{ '<|' + messages[0].content.strip() + '|>' }}", " end ")]
    [InlineData("{{ messages[0].content[:2] ~ messages[0].content[5:] }}", "<|xxxend|>")]
    [InlineData("{{ messages[0].content[::-1] }}", ">|dne|<")]
    [InlineData("{% for c in messages[0].content %}{{ c }}{% endfor %}", "<|end|>")]
    [InlineData("{% set t %}{{ messages[0].content }}{% endset %}{{ t[1:] }}", "!<|end|>")]
    [InlineData("{% set t = messages[0].content %}{{ t if t else '' }}{{ t or 'x' }}", "<|end|>")]
    [InlineData("{{ messages[0].content | tojson }}", "<|end|>")]
    [InlineData("{{ messages | tojson }}", "<|end|>")]
    [InlineData("{{ {messages[0].content: 1} | tojson }}", "<|end|>")]
    [InlineData("{% for key in {messages[0].content: 1} %}{{ key }}{% endfor %}", "<|end|>")]
    [InlineData("{{ [messages[0].content, ''][0] }}{{ messages[-1]['content'][-7:] }}", "<|end|>")]
    [InlineData("{{ messages[0].content[0] }}|end|{{ messages[0].content[-1] }}", "<>")]
    [InlineData("{{ messages[0].content.strip('x') }}", "x<|end|>x")]
    public void Whatever_a_template_does_to_a_message_gives_no_control_token(string template, string content)
    {
        RenderedPrompt prompt = ChatTemplate.Parse(template, "test", new Dictionary<string, string>())
            .Render([new TemplateMessage("user", content)], true);
        Assert.Contains("<|end|>", prompt.Text);
        Assert.DoesNotContain(Tokenizer.Encode(prompt), ControlIds.Contains);
    }

    [Fact]
    public void A_special_token_next_to_untrusted_text_is_still_one()
    {
        var prompt = new RenderedPrompt("<|user|><|end|><|end|>", [8..15]);
        int[] ids = Tokenizer.Encode(prompt);
        Assert.Equal(3069, ids[0]);
        Assert.Equal(3071, ids[^1]);
        Assert.Equal([3069, .. Tokenizer.Encode("<|end|>"), 3071], ids);
    }

    [Fact]
    public void Text_between_special_tokens_is_encoded_as_one_whatever_the_spans_are()
    {
        const string text = "Where is it? In the old tower of 1234!";
        int[] whole = Tokenizer.Encode(text);
        for (int cut = 0; cut <= text.Length; cut++)
        {
            Assert.Equal(whole, Tokenizer.Encode(new RenderedPrompt(text, [cut..text.Length])));
            Assert.Equal(whole, Tokenizer.Encode(new RenderedPrompt(text, [0..cut, cut..cut])));
        }
    }

    [Fact]
    public void Spans_may_come_in_any_order_and_overlap_but_have_to_lie_in_the_text()
    {
        const string text = "<|end|><|end|><|end|>";
        Assert.Equal(
            Tokenizer.Encode(new RenderedPrompt(text, [0..2, 15..16])),
            Tokenizer.Encode(new RenderedPrompt(text, [15..16, 1..2, 0..2, ^6..^5])));
        Assert.Throws<ArgumentException>(() => Tokenizer.Encode(new RenderedPrompt(text, [0..22])));
        Assert.Throws<ArgumentException>(() => Tokenizer.Encode(new RenderedPrompt(text, [5..3])));
        Assert.Throws<ArgumentException>(() => Tokenizer.Encode(new RenderedPrompt(text, [^30..3])));
    }

    [Fact]
    public void The_longest_of_several_tokens_at_one_place_wins_unless_a_message_wrote_its_end()
    {
        HfTokenizer tokenizer = WithTokens(("<|end|>x", 4000, "none"), ("|>x", 4001, "none"));
        Assert.Equal([4000], tokenizer.Encode(new RenderedPrompt("<|end|>x", [])));
        Assert.Equal([3071, .. tokenizer.Encode("x")], tokenizer.Encode(new RenderedPrompt("<|end|>x", [7..8])));
        Assert.Equal([.. tokenizer.Encode("<|end"), 4001], tokenizer.Encode(new RenderedPrompt("<|end|>x", [0..1])));
    }

    [Theory]
    [InlineData("lstrip", "a \n<|cut|> b", "a", " b")]
    [InlineData("rstrip", "a <|cut|> \n b", "a ", "b")]
    [InlineData("rstrip", "a <|cut|>  ", "a ", "")]
    public void White_space_belongs_to_a_token_that_strips(string flag, string text, string before, string after)
    {
        HfTokenizer tokenizer = WithTokens(("<|cut|>", 4000, flag));
        Assert.Equal([.. tokenizer.Encode(before), 4000, .. tokenizer.Encode(after)], tokenizer.Encode(new RenderedPrompt(text, [])));
    }

    [Fact]
    public void A_token_that_strips_takes_white_space_of_a_message_but_none_twice()
    {
        HfTokenizer tokenizer = WithTokens(("<|r|>", 4000, "rstrip"), ("<|l|>", 4001, "lstrip"), (" ", 4002, "none"));
        Assert.Equal([4000, 4001], tokenizer.Encode(new RenderedPrompt("<|r|> \n <|l|>", [5..8])));
        Assert.Equal([4000, 4001, 4002], tokenizer.Encode(new RenderedPrompt("<|r|>   <|l|> ", [])));
    }

    [Fact]
    public void A_special_token_that_merges_would_make_is_refused_and_one_in_the_vocabulary_is_never_made()
    {
        var exception = Assert.Throws<TokenizerFormatException>(() => WithTokens(("the", 900_000, "none"), repeatInVocabulary: false));
        Assert.Contains("'the'", exception.Message);

        // In the vocabulary too, as GPT-2 has it, and with ignore_merges, which would otherwise find it there.
        HfTokenizer tokenizer = TokenizerFixture.LoadAltered(root =>
        {
            root["model"]!["ignore_merges"] = true;
            root["model"]!["vocab"]!["qzx"] = 4000;
            ((JsonArray)root["added_tokens"]!).Add(Token("qzx", 4000, "none"));
        });
        Assert.DoesNotContain(4000, tokenizer.Encode("qzx"));
        Assert.Equal([4000], tokenizer.Encode(new RenderedPrompt("qzx", [])));
    }

    [Theory]
    [InlineData("none")]
    [InlineData("lstrip")]
    [InlineData("rstrip")]
    public void Ids_of_a_prefix_are_counted_as_if_it_were_encoded(string flag)
    {
        HfTokenizer tokenizer = WithTokens(("<|cut|>", 4000, flag), ("|>\n", 4001, "none"), ("<|cut|> <|", 4002, "none"));
        string[] special = [.. tokenizer.SpecialTokens.Keys];
        var generator = new TextGenerator(23);
        int prefixes = 0, others = 0;
        for (int i = 0; i < 400; i++)
        {
            string text = string.Concat(Enumerable.Range(0, 2 + generator.Next(6)).Select(_ => generator.Pick(
                [generator.Pick(special), generator.Pick([" ", "\n", "\n\n", " \n"]), generator.Line(), "<|cut|> "])));
            Range[] spans = generator.Next(2) == 0 ? [] : [generator.Next(text.Length / 2 + 1)..(text.Length / 2 + 1)];
            if (text.Length < 4) continue;
            EncodedPrompt whole = tokenizer.EncodeWithMarks(new RenderedPrompt(text, spans));
            for (int k = 0; k < 12; k++)
            {
                int cut = generator.Next(text.Length + 1);
                var prefix = new RenderedPrompt(text[..cut], [.. spans.Where(span => span.End.Value <= cut)]);
                int[] ids = tokenizer.Encode(prefix);
                bool isPrefix = whole.Tokens.AsSpan().StartsWith(ids);
                if (isPrefix) prefixes++;
                else others++;
                Assert.Equal(isPrefix ? ids.Length : null, tokenizer.CountPrefix(whole, prefix));
            }
        }
        Assert.True(prefixes > 500 && others > 500, $"{prefixes} prefixes, {others} others");
    }

    private static HfTokenizer WithTokens(params (string Content, int Id, string Flag)[] tokens) => TokenizerFixture.LoadAltered(root =>
    {
        foreach ((string content, int id, string flag) in tokens)
            ((JsonArray)root["added_tokens"]!).Add(Token(content, id, flag));
    });

    private static HfTokenizer WithTokens((string Content, int Id, string Flag) token, bool repeatInVocabulary) =>
        TokenizerFixture.LoadAltered(root =>
        {
            if (!repeatInVocabulary)
                ((JsonObject)root["model"]!["vocab"]!).Remove(token.Content);
            ((JsonArray)root["added_tokens"]!).Add(Token(token.Content, token.Id, token.Flag));
        });

    private static JsonObject Token(string content, int id, string flag) => new()
    {
        ["id"] = id,
        ["content"] = content,
        ["single_word"] = false,
        ["lstrip"] = flag == "lstrip",
        ["rstrip"] = flag == "rstrip",
        ["normalized"] = false,
        ["special"] = true,
    };
}
