using System.Text.Json.Nodes;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Tests.Tokenization;

/// <summary>A tokenizer.json that is not as it must be is refused with its name and the entry.</summary>
public sealed class TokenizerFileTests
{
    public static TheoryData<string, Action<JsonObject>> BrokenFiles => new()
    {
        { "model", root => root.Remove("model") },
        { "model", root => root["model"] = 5 },
        { "model.type", root => root["model"]!["type"] = "Unigram" },
        { "model.type", root => root["model"]!["type"] = 5 },
        { "model.byte_fallback", root => root["model"]!["byte_fallback"] = true },
        { "model.byte_fallback", root => root["model"]!["byte_fallback"] = "yes" },
        { "model.continuing_subword_prefix", root => root["model"]!["continuing_subword_prefix"] = "##" },
        { "model.end_of_word_suffix", root => root["model"]!["end_of_word_suffix"] = "</w>" },
        { "model.dropout", root => root["model"]!["dropout"] = 0.1 },
        { "model.vocab", root => ((JsonObject)root["model"]!).Remove("vocab") },
        { "model.vocab", root => root["model"]!["vocab"] = new JsonArray() },
        { "model.vocab", root => ((JsonObject)root["model"]!["vocab"]!).Remove("Ġ") },
        { "model.vocab['the']", root => root["model"]!["vocab"]!["the"] = -1 },
        { "model.vocab['the']", root => root["model"]!["vocab"]!["the"] = 1.5 },
        { "model.vocab['the']", root => root["model"]!["vocab"]!["the"] = "1" },
        { "model.vocab['the']", root => root["model"]!["vocab"]!["the"] = 2147483647 },
        { "model.vocab['the']", root => root["model"]!["vocab"]!["the"] = 3_000_000_000 },
        { "model.vocab['qqq']", root => root["model"]!["vocab"]!["qqq"] = 300 },
        { "model.vocab['qqq']", root => root["model"]!["vocab"]!["qqq"] = 3066 },
        { "model.vocab['a b']", root => root["model"]!["vocab"]!["a b"] = 5000 },
        { "model.vocab['你']", root => root["model"]!["vocab"]!["你"] = 5000 },
        { "model.vocab['']", root => root["model"]!["vocab"]![""] = 5000 },
        { "model.vocab['<|end|>']", root => root["model"]!["vocab"]!["<|end|>"] = 5000 },
        { "model.merges", root => ((JsonObject)root["model"]!).Remove("merges") },
        { "model.merges[0]", root => root["model"]!["merges"]![0] = "er" },
        { "model.merges[0]", root => root["model"]!["merges"]![0] = "e r t" },
        { "model.merges[0]", root => root["model"]!["merges"]![0] = new JsonArray("e") },
        { "model.merges[0]", root => root["model"]!["merges"]![0] = new JsonArray("e", 5) },
        { "model.merges[1]", root => root["model"]!["merges"]![1] = "e r" },
        { "model.merges[7]", root => root["model"]!["merges"]![7] = "qqq r" },
        { "model.merges[7]", root => root["model"]!["merges"]![7] = "q q" },
        { "added_tokens", root => root["added_tokens"] = "x" },
        { "added_tokens[0]", root => root["added_tokens"]![0] = "x" },
        { "added_tokens[0].content", root => root["added_tokens"]![0]!["content"] = "" },
        { "added_tokens[0].content", root => root["added_tokens"]![0]!["content"] = null },
        { "added_tokens[1].content", root => root["added_tokens"]![1]!["content"] = "<|begin_of_text|>" },
        { "added_tokens[1].id", root => root["added_tokens"]![1]!["id"] = 3066 },
        { "added_tokens[0].id", root => ((JsonObject)root["added_tokens"]![0]!).Remove("id") },
        { "added_tokens[0].single_word", root => root["added_tokens"]![0]!["single_word"] = true },
        { "added_tokens[0].lstrip", root => root["added_tokens"]![0]!["lstrip"] = 1 },
        { "normalizer", root => root["normalizer"] = new JsonObject { ["type"] = "NFKC" } },
        { "pre_tokenizer", root => root["pre_tokenizer"] = null },
        { "pre_tokenizer.type", root => root["pre_tokenizer"]!["type"] = "Whitespace" },
        { "pre_tokenizer.add_prefix_space", root => root["pre_tokenizer"]!["add_prefix_space"] = true },
        { "pre_tokenizer.use_regex", root => root["pre_tokenizer"]!["use_regex"] = false },
        { "pre_tokenizer.pretokenizers", root => root["pre_tokenizer"] = new JsonObject
            { ["type"] = "Sequence", ["pretokenizers"] = new JsonArray() } },
        { "pre_tokenizer.pretokenizers[0]", root => root["pre_tokenizer"] = new JsonObject
            { ["type"] = "Sequence", ["pretokenizers"] = new JsonArray("Digits") } },
        { "pre_tokenizer.pretokenizers[0].pattern.Regex", root => TokenizerFixture.SplitFirst(root, "(a+)+$") },
        { "pre_tokenizer.pretokenizers[0].behavior", root => TokenizerFixture.SplitFirst(root, "x", "MergedWithNext") },
        { "decoder", root => root["decoder"] = null },
        { "decoder.type", root => root["decoder"]!["type"] = "Metaspace" },
    };

    [Theory]
    [MemberData(nameof(BrokenFiles), DisableDiscoveryEnumeration = true)]
    public void A_broken_entry_is_named(string entry, Action<JsonObject> breakIt)
    {
        var exception = Assert.Throws<TokenizerFormatException>(() => TokenizerFixture.LoadAltered(breakIt));
        Assert.Equal(entry, exception.Entry);
        Assert.Contains(exception.File, exception.Message);
        Assert.Contains(entry, exception.Message);
    }

    [Fact]
    public void A_token_that_is_there_twice_is_named()
    {
        string json = TokenizerFixture.Altered(_ => { }).ToJsonString().Replace("\"vocab\":{", "\"vocab\":{\"the\":9000,", StringComparison.Ordinal);
        Assert.Equal("model.vocab['the']", Assert.Throws<TokenizerFormatException>(() => TokenizerFixture.Load(json)).Entry);
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{")]
    [InlineData("{\"model\":")]
    [InlineData("\u0000")]
    [InlineData("{\"model\":{\"type\":\"\\ud800\"}}")]
    public void Broken_JSON_is_refused(string json)
    {
        Assert.Throws<TokenizerFormatException>(() => TokenizerFixture.Load(json));
    }

    [Fact]
    public void A_missing_file_is_refused_with_its_path()
    {
        string path = Path.Combine(Path.GetTempPath(), "no-such-folder", "tokenizer.json");
        var exception = Assert.Throws<TokenizerFormatException>(() => HfTokenizer.Load(path));
        Assert.Contains(path, exception.Message);
        Assert.Throws<TokenizerFormatException>(() => HfTokenizer.Load(Path.GetTempPath()));
        Assert.ThrowsAny<ArgumentException>(() => HfTokenizer.Load(""));
    }

    [Fact]
    public void Files_with_random_damage_load_or_are_refused()
    {
        // A small file, so that damage hits every kind of entry.
        string json = TokenizerFixture.Altered(root =>
        {
            var merges = new JsonArray();
            foreach (JsonNode? merge in ((JsonArray)root["model"]!["merges"]!).Take(6))
                merges.Add(merge!.DeepClone());
            root["model"]!["merges"] = merges;
            var vocabulary = (JsonObject)root["model"]!["vocab"]!;
            foreach (string token in vocabulary.Select(entry => entry.Key).Skip(262).ToList())
                vocabulary.Remove(token);
        }).ToJsonString();
        TokenizerFixture.Load(json);

        var random = new Random(23);
        int refused = 0;
        const string noise = "{}[]\",:0123456789truefalsn\\u d8 <|>";
        for (int i = 0; i < 800; i++)
        {
            var damaged = new System.Text.StringBuilder(json);
            for (int k = random.Next(1, 4); k > 0; k--)
            {
                int at = random.Next(damaged.Length);
                switch (random.Next(4))
                {
                    case 0: damaged[at] = noise[random.Next(noise.Length)]; break;
                    case 1: damaged.Insert(at, noise[random.Next(noise.Length)]); break;
                    case 2: damaged.Remove(at, Math.Min(random.Next(1, 30), damaged.Length - at)); break;
                    default: damaged.Insert(at, json.AsSpan(random.Next(json.Length - 40), 40)); break;
                }
            }

            try
            {
                HfTokenizer tokenizer = TokenizerFixture.Load(damaged.ToString());
                tokenizer.Decode(tokenizer.Encode("the tower\n<|end|> 你"));
            }
            catch (TokenizerFormatException)
            {
                refused++;
            }
        }

        Assert.InRange(refused, 200, 799);
    }
}
