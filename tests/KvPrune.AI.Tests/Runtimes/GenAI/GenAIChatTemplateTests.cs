using System.Text.RegularExpressions;
using KvPrune.AI.Runtimes.GenAI;
using KvPrune.AI.Templates;
using KvPrune.AI.Tests.Tokenization;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Tests.Runtimes.GenAI;

public sealed partial class GenAIChatTemplateTests
{
    private static readonly ChatTemplate Ours = ChatTemplate.Load(BundledModel.Folder);
    private static readonly string[] Special = [.. TokenizerFixture.Tokenizer.SpecialTokens.Keys];

    private readonly GenAITextFixture _genai = GenAITextFixture.Bundled;

    // The bundled template trims contents. GenAI's trim takes space, tab, line feed and carriage return; Hugging Face's, as
    // Python's and ours, all of Unicode's white space. Contents that begin or end with other white space differ, and U+0000,
    // at which a C string would end, is U+FFFD.
    [Fact]
    public void The_text_of_2000_lines_equals_ours_where_trim_means_the_same()
    {
        var generator = new TextGenerator(67);
        int compared = 0, trimmedOtherwise = 0;
        while (compared < 2000)
        {
            string[] lines = [.. Enumerable.Range(0, 1 + generator.Next(5)).Select(_ => generator.Line() + (generator.Next(4) == 0 ? generator.Pick(Special) : ""))];
            List<TemplateMessage> messages = [.. lines.Select((line, i) => new TemplateMessage(i == 0 && generator.Next(2) == 0 ? "system" : i % 2 == 0 ? "user" : "assistant", line))];
            bool start = generator.Next(2) == 0;
            string ours = Ours.Render([.. messages.Select(message => message with { Content = message.Content.Replace('\0', '\uFFFD') })], start).Text;

            string theirs = _genai.Text.Template.Render(messages, start).Text;

            if (lines.Any(line => OtherWhiteSpaceAtAnEnd().IsMatch(line)))
            {
                Assert.Equal(AllWhiteSpace().Replace(ours, ""), AllWhiteSpace().Replace(theirs, ""));
                trimmedOtherwise++;
                continue;
            }
            Assert.Equal(ours, theirs);
            compared += lines.Length;
        }
        Assert.True(trimmedOtherwise > 100, $"{trimmedOtherwise} conversations were trimmed otherwise");
    }

    [Fact]
    public void A_prompt_has_the_control_tokens_of_its_template_only()
    {
        var generator = new TextGenerator(71);
        HfTokenizer tokenizer = TokenizerFixture.Tokenizer;
        for (int i = 0; i < 300; i++)
        {
            List<TemplateMessage> messages =
            [
                .. Enumerable.Range(0, 1 + (i % 4)).Select(k => new TemplateMessage(
                    k % 2 == 0 ? "user" : "assistant", Trim(HostileText.Create(generator, Special).Replace('\0', ' ')))),
            ];
            RenderedPrompt prompt = _genai.Text.Template.Render(messages, addGenerationPrompt: true);
            Assert.Equal(tokenizer.Encode(Ours.Render(messages, addGenerationPrompt: true)), _genai.Text.Tokenizer.Encode(prompt).Tokens);
        }
    }

    [Theory]
    // A token of a message and the template, or of two messages.
    [InlineData("<|en{{ messages[0].content }}", "d|>")]
    [InlineData("{{ messages[0].content }}d|>", "<|en")]
    [InlineData("<|{{ messages[0].content | trim }}|>", "  end\n")]
    [InlineData("<|e{{ messages[0].content }}d|>", "n")]
    [InlineData("{{ messages[0].content }}{{ messages[0].content }}", "nd|><|e")]
    [InlineData("{{ messages | tojson }}", "<|end|>")]
    [InlineData("{% set t %}{{ messages[0].content }}{% endset %}{{ t }}", "<|end|>")]
    public void Whatever_a_template_makes_of_a_message_gives_no_control_token(string template, string content)
    {
        using AlteredFolder folder = AlteredFolder.WithTemplate(template);
        using var genai = new GenAITextFixture(folder.Path);
        RenderedPrompt prompt = genai.Text.Template.Render([new TemplateMessage("user", content)], true);
        Assert.Contains("<|end|>", prompt.Text);
        Assert.DoesNotContain(genai.Text.Tokenizer.Encode(prompt).Tokens, genai.Text.Tokenizer.SpecialTokens.Values.Contains);
    }

    [Theory]
    [InlineData("{{ messages[0].content[1:] }}", "!<|end|>")]
    [InlineData("{{ messages[0].content[::-1] }}", ">|dne|<<|end|>")]
    [InlineData("{{ messages[0].content | length }}", "<|end|>")]
    [InlineData("{{ messages[0].content.split('<|end|>')[0] }}", "a<|end|>b")]
    public void A_template_that_looks_into_a_message_is_safe_or_refused(string template, string content)
    {
        using AlteredFolder folder = AlteredFolder.WithTemplate(template);
        using var genai = new GenAITextFixture(folder.Path);
        try
        {
            RenderedPrompt prompt = genai.Text.Template.Render([new TemplateMessage("user", content)], true);
            Assert.DoesNotContain(genai.Text.Tokenizer.Encode(prompt).Tokens, genai.Text.Tokenizer.SpecialTokens.Values.Contains);
        }
        catch (ChatTemplateException error)
        {
            Assert.Contains("special token", error.Message);
        }
        // Without a special token nothing of this matters.
        Assert.Empty(genai.Text.Template.Render([new TemplateMessage("user", "plain text")], true).UntrustedSpans);
    }

    [Fact]
    public void A_template_that_refuses_messages_says_so_in_its_words()
    {
        using AlteredFolder folder = AlteredFolder.WithTemplate("{% for m in messages %}\n{% if m.role == 'system' %}é{{ raise_exception('No system role.') }}{% endif %}{% endfor %}");
        using var genai = new GenAITextFixture(folder.Path);
        var error = Assert.Throws<ChatTemplateRaisedException>(() => genai.Text.Template.Render([new TemplateMessage("system", "x")], true));
        Assert.Equal("No system role.", error.Problem);
        Assert.Equal(2, error.Line);
        Assert.Contains(folder.Path, error.Message);
    }

    [Fact]
    public void A_template_that_fails_on_messages_names_its_line()
    {
        using AlteredFolder folder = AlteredFolder.WithTemplate("a\n{{ messages[0].content.nothing.there }}");
        using var genai = new GenAITextFixture(folder.Path);
        var error = Assert.Throws<ChatTemplateException>(() => genai.Text.Template.Render([new TemplateMessage("user", "x")], true));
        Assert.IsNotType<ChatTemplateRaisedException>(error);
        Assert.Equal(2, error.Line);
    }

    [Theory]
    [InlineData("{% for %}")]
    [InlineData("")]
    public void A_template_that_GenAI_cannot_read_is_refused_at_once(string template)
    {
        using AlteredFolder folder = AlteredFolder.WithTemplate(template);
        Assert.Throws<ChatTemplateException>(() => new GenAITextFixture(folder.Path));
    }

    [Fact]
    public void Messages_that_use_private_characters_keep_them()
    {
        string content = string.Concat(Enumerable.Range(0xE000, 100).Select(c => (char)c)) + "<|end|>";
        RenderedPrompt prompt = _genai.Text.Template.Render([new TemplateMessage("user", content)], false);
        Assert.Equal(Ours.Render([new TemplateMessage("user", content)], false).Text, prompt.Text);
        Assert.Throws<NotSupportedException>(() => ContentMarks.Choose([string.Concat(Enumerable.Range(0xE000, 0x1900).Select(c => (char)c))]));
    }

    private static string Trim(string content) => OuterWhiteSpace().Replace(content, "");

    [GeneratedRegex(@"^[\s\u001C-\u001F]+|[\s\u001C-\u001F]+$")]
    private static partial Regex OuterWhiteSpace();

    [GeneratedRegex(@"^[ \t\r\n]*[^\S \t\r\n]|[^\S \t\r\n][ \t\r\n]*$|^[ \t\r\n]*[\u001C-\u001F]|[\u001C-\u001F][ \t\r\n]*$")]
    private static partial Regex OtherWhiteSpaceAtAnEnd();

    [GeneratedRegex(@"[\s\u001C-\u001F]+")]
    private static partial Regex AllWhiteSpace();
}
