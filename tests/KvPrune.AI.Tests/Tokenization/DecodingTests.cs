using System.Text;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Tests.Tokenization;

public sealed class DecodingTests
{
    private static readonly HfTokenizer Tokenizer = TokenizerFixture.Tokenizer;

    [Fact]
    public void Streaming_gives_the_same_text_for_any_ids_and_never_half_a_character()
    {
        var generator = new TextGenerator(11);
        for (int i = 0; i < 2000; i++)
        {
            // Some lines are text; some are random ids, most of which are no valid UTF-8.
            int[] ids = i % 2 == 0
                ? Tokenizer.Encode(generator.Line())
                : [.. Enumerable.Range(0, 12).Select(_ => generator.Next(generator.Pick([256, 3072])))];
            StreamingDetokenizer detokenizer = Tokenizer.CreateDetokenizer();
            var text = new StringBuilder();
            foreach (int id in ids)
            {
                string added = detokenizer.Append(id);
                Assert.False(added.Length > 0 && (char.IsLowSurrogate(added[0]) || char.IsHighSurrogate(added[^1])));
                text.Append(added);
            }

            text.Append(detokenizer.Flush());
            Assert.Equal(Tokenizer.Decode(ids), text.ToString());
            Assert.Equal("", detokenizer.Flush());
        }
    }

    [Fact]
    public void Text_appears_as_soon_as_its_last_byte_is_there()
    {
        var generator = new TextGenerator(13);
        for (int i = 0; i < 300; i++)
        {
            string line = generator.Line();
            int[] ids = Tokenizer.Encode(line);
            StreamingDetokenizer detokenizer = Tokenizer.CreateDetokenizer();
            var text = new StringBuilder();
            for (int count = 1; count <= ids.Length; count++)
            {
                text.Append(detokenizer.Append(ids[count - 1]));
                // Only an unfinished character at the end may be missing, and it shows as one U+FFFD in a whole decoding.
                string whole = Tokenizer.Decode(ids[..count]);
                Assert.True(whole == text.ToString() || whole == text + "\uFFFD", $"{line}: {text} of {whole}");
            }
        }
    }

    [Fact]
    public void Special_tokens_give_text_only_when_asked_for()
    {
        int end = Tokenizer.SpecialTokens["<|end|>"];
        int[] ids = [.. Tokenizer.Encode("yes"), end];
        Assert.Equal("yes", Tokenizer.Decode(ids));
        Assert.Equal("yes<|end|>", Tokenizer.Decode(ids, skipSpecialTokens: false));
        Assert.Equal("", Tokenizer.CreateDetokenizer().Append(end));
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(3072)]
    [InlineData(int.MaxValue)]
    public void An_id_outside_the_vocabulary_is_refused(int id)
    {
        Assert.Contains(id.ToString(), Assert.Throws<ArgumentOutOfRangeException>(() => Tokenizer.Decode([id])).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => Tokenizer.CreateDetokenizer().Append(id));
    }
}
