using System.Diagnostics;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using KvPrune.AI.Templates;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Tests.Tokenization;

public sealed class EncodingTests
{
    private const string Llama3 =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private static readonly HfTokenizer Tokenizer = TokenizerFixture.Tokenizer;

    [Fact]
    public void A_known_prompt_has_its_known_ids()
    {
        JsonElement reference = TestFiles.ReadJson("models/tiny-retrieval-llama/reference/reference_logits.json");
        string prompt = reference.GetProperty("prompt").GetString()!;
        int[] expected = [.. reference.GetProperty("input_ids").EnumerateArray().Select(id => id.GetInt32())];

        int[] ids = Tokenizer.Encode(new RenderedPrompt(prompt, []));

        Assert.Equal(expected, ids);
        Assert.Equal(prompt, Tokenizer.Decode(ids, skipSpecialTokens: false));
    }

    [Fact]
    public void Ids_equal_those_of_plain_byte_pair_encoding_and_decode_to_the_text()
    {
        var reference = new BytePairReference(TokenizerFixture.Json);
        Compare(Tokenizer, reference, seed: 1, lines: 1500);
    }

    [Theory]
    [InlineData("Isolated", false)]
    [InlineData("Removed", true)]
    public void Ids_with_the_split_of_Llama_3_equal_those_of_plain_byte_pair_encoding(string behavior, bool invert)
    {
        HfTokenizer tokenizer = TokenizerFixture.LoadAltered(root => TokenizerFixture.SplitFirst(root, Llama3, behavior, invert));
        Compare(tokenizer, new BytePairReference(TokenizerFixture.Json, digitsPerPiece: 3), seed: 3, lines: 800);
    }

    [Theory]
    [InlineData(1990, 2010)]
    [InlineData(3000, 3003)]
    public void Long_pieces_equal_plain_byte_pair_encoding_too(int shortest, int longest)
    {
        var reference = new BytePairReference(TokenizerFixture.Json);
        var generator = new TextGenerator(shortest);
        string[] syllables = ["er", "th", "an", "in", "the", "ing", "a", "e", "s", "oo", "Z", "é", "你", "𠀀"];
        for (int length = shortest; length < longest; length++)
        {
            string piece = string.Concat(Enumerable.Range(0, length).Select(_ => generator.Pick(syllables)))[..length];
            piece = char.IsHighSurrogate(piece[^1]) ? piece[..^1] : piece;
            Assert.Equal(reference.Encode(piece), Tokenizer.Encode(piece));
        }
    }

    private static void Compare(HfTokenizer tokenizer, BytePairReference reference, int seed, int lines)
    {
        var generator = new TextGenerator(seed);
        for (int i = 0; i < lines; i++)
        {
            string line = generator.Line();
            int[] ids = tokenizer.Encode(line);
            Assert.True(ids.SequenceEqual(reference.Encode(line)), $"line {i}: {JsonSerializer.Serialize(line)}");
            Assert.Equal(line, tokenizer.Decode(ids));
        }
    }

    [Fact]
    public void Merges_written_as_pairs_are_the_same_as_merges_written_as_text()
    {
        HfTokenizer tokenizer = TokenizerFixture.LoadAltered(root =>
        {
            var model = (JsonObject)root["model"]!;
            var pairs = new JsonArray();
            foreach (JsonNode? merge in (JsonArray)model["merges"]!)
            {
                string[] parts = merge!.GetValue<string>().Split(' ');
                pairs.Add(new JsonArray(parts[0], parts[1]));
            }

            model["merges"] = pairs;
        });
        var generator = new TextGenerator(5);
        for (int i = 0; i < 200; i++)
        {
            string line = generator.Line();
            Assert.Equal(Tokenizer.Encode(line), tokenizer.Encode(line));
        }
    }

    [Fact]
    public void With_ignore_merges_a_piece_that_is_a_token_is_that_token()
    {
        // "qzx" has a token but no merge that makes it.
        void Add(JsonObject root, bool ignoreMerges)
        {
            var model = (JsonObject)root["model"]!;
            model["vocab"]!["qzx"] = 5000;
            model["ignore_merges"] = ignoreMerges;
        }

        Assert.Equal([5000], TokenizerFixture.LoadAltered(root => Add(root, true)).Encode("qzx"));
        Assert.True(TokenizerFixture.LoadAltered(root => Add(root, false)).Encode("qzx").Length > 1);
    }

    [Theory]
    [InlineData("a\uD800b")]
    [InlineData("\uDC00\uD800")]
    [InlineData("x\uD83D")]
    public void Unpaired_surrogates_count_as_the_replacement_character(string text)
    {
        string replaced = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));
        Assert.Equal(Tokenizer.Encode(replaced), Tokenizer.Encode(text));
    }

    [Fact]
    public void Text_without_characters_has_no_tokens()
    {
        Assert.Empty(Tokenizer.Encode(""));
        Assert.Empty(Tokenizer.Encode(new RenderedPrompt("", [])));
        Assert.Equal("", Tokenizer.Decode([]));
    }

    [Fact]
    public void Null_is_refused()
    {
        Assert.Throws<ArgumentNullException>(() => Tokenizer.Encode((string)null!));
        Assert.Throws<ArgumentNullException>(() => Tokenizer.Encode((RenderedPrompt)null!));
        Assert.Throws<ArgumentNullException>(() => Tokenizer.Decode(null!));
    }

    [Fact]
    public void The_vocabulary_counts_every_id()
    {
        Assert.Equal(3072, Tokenizer.VocabularySize);
        Assert.Equal(6, Tokenizer.SpecialTokens.Count);
        Assert.Equal(3071, Tokenizer.SpecialTokens["<|end|>"]);
    }

    [Fact]
    public void Concurrent_callers_get_what_a_single_one_gets()
    {
        var generator = new TextGenerator(7);
        string[] lines = [.. Enumerable.Range(0, 300).Select(_ => generator.Line())];
        HfTokenizer fresh = HfTokenizer.Load(TestFiles.Path(TokenizerFixture.Path));
        var ids = new int[lines.Length][];

        Parallel.For(0, lines.Length, new ParallelOptions { MaxDegreeOfParallelism = 8 }, i => ids[i] = fresh.Encode(lines[i]));

        for (int i = 0; i < lines.Length; i++)
            Assert.Equal(Tokenizer.Encode(lines[i]), ids[i]);
    }

    // Twenty times what was measured, so that only a change of the order of growth fails.
    [Theory]
    [InlineData("prose")]
    [InlineData("letters")]
    [InlineData("blanks")]
    [InlineData("emoji")]
    public void Long_text_takes_time_in_proportion_to_its_length(string kind)
    {
        string unit = kind switch { "prose" => "The old tower in Bern was built in 1403. ", "letters" => "erthaninhe", "blanks" => "  ", _ => "😀" };
        string text = string.Concat(Enumerable.Repeat(unit, 300_000 / unit.Length));
        Tokenizer.Encode(text[..3000]);

        var watch = Stopwatch.StartNew();
        int[] ids = Tokenizer.Encode(text);
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(10), $"{watch.Elapsed}");
        Assert.Equal(text, Tokenizer.Decode(ids));
        TestContext.Current.SendDiagnosticMessage($"{kind}: {text.Length} characters in {watch.ElapsedMilliseconds} ms");
    }
}
