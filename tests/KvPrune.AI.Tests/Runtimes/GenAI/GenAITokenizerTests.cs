using System.Text;
using KvPrune.AI.Runtimes.GenAI;
using KvPrune.AI.Templates;
using KvPrune.AI.Tests.Tokenization;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Tests.Runtimes.GenAI;

/// <summary>GenAI's tokenizer and ours know nothing of each other: each is the other's oracle.</summary>
public sealed class GenAITokenizerTests
{
    private readonly GenAITextFixture _genai = GenAITextFixture.Bundled;
    private readonly HfTokenizer _ours = TokenizerFixture.Tokenizer;

    private GenAITokenizer Tokenizer => _genai.Text.Tokenizer;

    // What is read otherwise, both times other than by Hugging Face's tokenizer and ours:
    // - U+0000, where a C string ends: GenAI is given U+FFFD for it.
    // - Characters of other kinds. GenAI knows the letters and digits of Unicode 13; later ones are signs to it, and U+0085
    //   is no white space. So contractions, numbers and words next to one of these are split in other places.
    [Fact]
    public void Ids_of_2000_lines_equal_ours_where_characters_are_of_the_same_kind()
    {
        var generator = new TextGenerator(41);
        string[] special = [.. _ours.SpecialTokens.Keys];
        var kinds = new Dictionary<Rune, bool>();
        int zeros = 0, others = 0;
        for (int compared = 0; compared < 2000;)
        {
            string line = generator.Line() + (generator.Next(3) == 0 ? generator.Pick(special) + generator.Line() : "");
            if (line.Contains('\0')) zeros++;
            string clean = line.Replace('\0', '\uFFFD');
            if (clean.EnumerateRunes().All(rune => IsOfTheSameKind(rune, kinds)))
            {
                Assert.Equal(_ours.Encode(new RenderedPrompt(clean, [])), Encode(line));
                compared++;
            }
            else
            {
                Assert.Equal(clean, _ours.Decode(Encode(line), skipSpecialTokens: false));
                others++;
            }
        }
        Assert.InRange(zeros, 20, 500);
        Assert.InRange(others, 1, 600);
        Assert.All(kinds.Where(kind => !kind.Value), kind => Assert.True(
            kind.Key.Value == 0x85 || (kind.Key.Value >= 0x870 && (Rune.IsLetter(kind.Key) || Rune.IsNumber(kind.Key))), $"U+{kind.Key.Value:X4} is of another kind"));
    }

    /// <summary>Whether a character is a letter, a digit, a sign or white space to both, by where text beside it is split.</summary>
    private bool IsOfTheSameKind(Rune rune, Dictionary<Rune, bool> known)
    {
        if (known.TryGetValue(rune, out bool same)) return same;
        string[] probes = [$"{rune}'s", $"x{rune}1", $"x {rune}y"];
        return known[rune] = probes.All(probe => _ours.Encode(new RenderedPrompt(probe, [])).SequenceEqual(Encode(probe)));
    }

    [Fact]
    public void What_no_C_string_can_hold_counts_as_the_replacement_character()
    {
        Assert.Equal(Encode("a\uFFFDb\uFFFD😀\uFFFD"), Encode("a\0b\uD83D😀\uDE00"));
    }

    [Fact]
    public void Special_tokens_that_a_message_brings_stay_text()
    {
        var generator = new TextGenerator(43);
        string[] special = [.. _ours.SpecialTokens.Keys];
        int kept = 0;
        for (int i = 0; i < 600; i++)
        {
            string before = generator.Pick(["", generator.Pick(special), generator.Line()]);
            string content = HostileText.Create(generator, special);
            string text = (before + content + generator.Pick(special)).Replace('\0', '\uFFFD');
            var prompt = new RenderedPrompt(text, [before.Length..(before.Length + content.Length)]);

            int[] ids = ((IPromptTokenizer)Tokenizer).Encode(prompt).Tokens;

            Assert.Equal(_ours.Encode(prompt), ids);
            if (special.Any(content.Contains)) kept++;
        }
        Assert.True(kept > 100, $"{kept} messages held a whole special token");
    }

    [Fact]
    public void A_message_full_of_special_tokens_is_encoded_in_time()
    {
        string text = string.Concat(Enumerable.Repeat("<|end|>", 150_000));
        var watch = System.Diagnostics.Stopwatch.StartNew();
        int[] ids = Encode(Tokenizer, new RenderedPrompt(text, [0..text.Length]));
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(10), $"{watch.Elapsed}");
        Assert.DoesNotContain(ids, _ours.SpecialTokens.Values.Contains);
        Assert.Equal(text, _ours.Decode(ids));
    }

    [Fact]
    public void Added_tokens_that_are_not_special_or_known_to_the_configuration_only_stay_text_too()
    {
        using AlteredFolder folder = new AlteredFolder()
            .Change("tokenizer.json", root => root["added_tokens"]!.AsArray().Add(Added("<tool>", 3060, special: false)))
            .Change("tokenizer_config.json", root => root["added_tokens_decoder"]!["3061"] = Added("~~~~", null, special: true));
        using var genai = new GenAITextFixture(folder.Path);
        Assert.Equal([3060, 3061], Encode(genai.Text.Tokenizer, new RenderedPrompt("<tool>~~~~", [])));
        int[] ids = Encode(genai.Text.Tokenizer, new RenderedPrompt("<tool>~~~~", [0..10]));
        Assert.DoesNotContain(3060, ids);
        Assert.DoesNotContain(3061, ids);
        Assert.Equal("<tool>~~~~", _ours.Decode(ids));
    }

    [Fact]
    public void No_special_token_is_put_before_a_text()
    {
        using AlteredFolder folder = new AlteredFolder().Change("tokenizer_config.json", root =>
        {
            root["add_bos_token"] = true;
            root["add_eos_token"] = true;
        });
        using var genai = new GenAITextFixture(folder.Path);
        Assert.Equal(Encode("Hello"), Encode(genai.Text.Tokenizer, new RenderedPrompt("Hello", [])));
    }

    [Fact]
    public void A_special_token_of_one_character_is_refused_in_a_message()
    {
        using AlteredFolder folder = new AlteredFolder().Change("tokenizer.json", root => root["added_tokens"]!.AsArray().Add(Added("¤", 3060, special: true)));
        using var genai = new GenAITextFixture(folder.Path);
        Assert.Equal([3060], Encode(genai.Text.Tokenizer, new RenderedPrompt("¤", [])));
        var error = Assert.Throws<NotSupportedException>(() => Encode(genai.Text.Tokenizer, new RenderedPrompt("a ¤", [0..3])));
        Assert.Contains("¤", error.Message);
    }

    [Fact]
    public void Ids_of_a_prefix_are_counted_as_if_it_were_encoded()
    {
        var generator = new TextGenerator(47);
        string[] special = [.. _ours.SpecialTokens.Keys];
        int prefixes = 0, others = 0;
        for (int i = 0; i < 150; i++)
        {
            string text = generator.Line() + generator.Pick(special) + generator.Line() + generator.Pick(special);
            EncodedPrompt whole = ((IPromptTokenizer)Tokenizer).Encode(new RenderedPrompt(text, []));
            int cut = generator.Next(text.Length + 1);
            int[] ids = Encode(text[..cut]);
            bool isPrefix = whole.Tokens.AsSpan().StartsWith(ids);
            if (isPrefix) prefixes++;
            else others++;
            Assert.Equal(isPrefix ? ids.Length : null, Tokenizer.CountPrefix(whole, new RenderedPrompt(text[..cut], [])));
        }
        Assert.True(prefixes > 30 && others > 30, $"{prefixes} prefixes, {others} others");
    }

    [Fact]
    public void Random_ids_one_by_one_give_the_text_of_all_at_once()
    {
        var random = new Random(53);
        for (int i = 0; i < 200; i++)
        {
            // Half of them single bytes: characters in pieces, and pieces that are no characters.
            int[] ids = [.. Enumerable.Range(0, random.Next(1, 60)).Select(_ => random.Next(random.Next(2) == 0 ? 256 : _ours.VocabularySize))];
            Assert.Equal(_ours.Decode(ids.Where(_ours.HasToken)), Stream(Tokenizer.CreateDetokenizer(), ids.Where(_ours.HasToken)));
        }
        Assert.Throws<ArgumentOutOfRangeException>(() => Tokenizer.CreateDetokenizer().Append(999_999));
    }

    [Fact]
    public void GenAIs_own_decoder_gives_back_what_was_encoded()
    {
        // It serves tokenizers that are not byte-level, for which our reader of bytes does not.
        using AlteredFolder folder = new AlteredFolder().Change("tokenizer.json", root => root["decoder"] = null);
        using var genai = new GenAITextFixture(folder.Path);
        Assert.IsType<GenAIDetokenizer>(genai.Text.Tokenizer.CreateDetokenizer());
        var generator = new TextGenerator(59);
        for (int i = 0; i < 300; i++)
        {
            string line = generator.Line().Replace('\0', '\uFFFD').Replace("<|end|>", "<end>");
            Assert.Equal(line, Stream(genai.Text.Tokenizer.CreateDetokenizer(), Encode(line)));
        }
        Assert.Equal("ab", Stream(genai.Text.Tokenizer.CreateDetokenizer(), Encode("a<|end|>b")));
        IStreamingDetokenizer interrupted = genai.Text.Tokenizer.CreateDetokenizer();
        Assert.Equal("a word", string.Concat(Encode("a word").Select(interrupted.Append)));
        Assert.Equal("", interrupted.Interrupt());
        Assert.Equal(" word", string.Concat(Encode(" word").Select(interrupted.Append)));
    }

    [Fact]
    public async Task Encoding_from_several_threads_gives_the_ids_of_one()
    {
        var generator = new TextGenerator(61);
        string[] lines = [.. Enumerable.Range(0, 200).Select(_ => generator.Line() + generator.Line())];
        int[][] expected = [.. lines.Select(Encode)];
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() =>
        {
            for (int i = 0; i < lines.Length; i++)
            {
                Assert.Equal(expected[i], Encode(lines[i]));
                Stream(Tokenizer.CreateDetokenizer(), expected[i]);
            }
        })));
    }

    private int[] Encode(string text) => Encode(Tokenizer, new RenderedPrompt(text, []));

    private static int[] Encode(GenAITokenizer tokenizer, RenderedPrompt prompt) => tokenizer.Encode(prompt).Tokens;

    /// <summary>The whole text; none of its parts ends or begins within a character.</summary>
    private static string Stream(IStreamingDetokenizer detokenizer, IEnumerable<int> ids)
    {
        var text = new StringBuilder();
        foreach (string part in ids.Select(detokenizer.Append).Concat(new[] { 0 }.Select(_ => detokenizer.Flush())))
        {
            Assert.False(part.Length > 0 && (char.IsLowSurrogate(part[0]) || char.IsHighSurrogate(part[^1])), "half a character");
            text.Append(part);
        }
        return text.ToString();
    }

    private static System.Text.Json.Nodes.JsonObject Added(string content, int? id, bool special)
    {
        var token = new System.Text.Json.Nodes.JsonObject { ["content"] = content, ["special"] = special };
        if (id is not null) token["id"] = id;
        return token;
    }
}
