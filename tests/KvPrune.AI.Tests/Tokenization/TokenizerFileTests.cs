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
        { "model.byte_fallback", root => root["model"]!["byte_fallback"] = "yes" },
        { "model.continuing_subword_prefix", root => root["model"]!["continuing_subword_prefix"] = "##" },
        { "model.end_of_word_suffix", root => root["model"]!["end_of_word_suffix"] = "</w>" },
        { "model.dropout", root => root["model"]!["dropout"] = 0.1 },
        { "model.vocab", root => ((JsonObject)root["model"]!).Remove("vocab") },
        { "model.vocab", root => root["model"]!["vocab"] = new JsonArray() },
        { "model.vocab", root => ((JsonObject)root["model"]!["vocab"]!).Remove("Ā") },
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
        { "model.merges[7]", root => root["model"]!["merges"]![7] = "qqq r" },
        { "model.merges[7]", root => root["model"]!["merges"]![7] = "q q" },
        { "added_tokens", root => root["added_tokens"] = "x" },
        { "added_tokens[0]", root => root["added_tokens"]![0] = "x" },
        { "added_tokens[0].content", root => root["added_tokens"]![0]!["content"] = "" },
        { "added_tokens[0].content", root => root["added_tokens"]![0]!["content"] = null },
        { "added_tokens[1].content", root => root["added_tokens"]![1]!["content"] = "<|begin_of_text|>" },
        { "added_tokens[1].id", root => root["added_tokens"]![1]!["id"] = 3066 },
        { "added_tokens[0].id", root => ((JsonObject)root["added_tokens"]![0]!).Remove("id") },
        { "added_tokens[0].single_word", root => root["added_tokens"]![0]!["single_word"] = "yes" },
        { "added_tokens[0].lstrip", root => root["added_tokens"]![0]!["lstrip"] = 1 },
        { "normalizer", root => root["normalizer"] = "NFC" },
        { "normalizer.type", root => root["normalizer"] = new JsonObject { ["type"] = "NFKC" } },
        { "normalizer.normalizers[0].type", root => root["normalizer"] = Sequence("normalizers", new JsonObject { ["type"] = "Lowercase" }) },
        { "normalizer.normalizers[0].pattern.String", root => root["normalizer"] = Sequence("normalizers", Replace("")) },
        { "normalizer.prepend", root => root["normalizer"] = new JsonObject { ["type"] = "Prepend" } },
        { "pre_tokenizer", root => root["pre_tokenizer"] = null },
        { "pre_tokenizer.type", root => root["pre_tokenizer"]!["type"] = "Whitespace" },
        { "pre_tokenizer", root => root["pre_tokenizer"] = Sequence("pretokenizers") },
        { "pre_tokenizer", root => root["pre_tokenizer"] = Sequence("pretokenizers", new JsonObject { ["type"] = "Digits" }) },
        { "pre_tokenizer.pretokenizers[0]", root => root["pre_tokenizer"] = Sequence("pretokenizers", "Digits") },
        { "pre_tokenizer.pretokenizers[1]", root => root["pre_tokenizer"] = Sequence(
            "pretokenizers", new JsonObject { ["type"] = "ByteLevel" }, new JsonObject { ["type"] = "Digits" }) },
        { "pre_tokenizer.pretokenizers[1].add_prefix_space", root =>
            {
                TokenizerFixture.SplitFirst(root, "x");
                root["pre_tokenizer"]!["pretokenizers"]![1]!["add_prefix_space"] = true;
            } },
        { "pre_tokenizer.pretokenizers[0].pattern.Regex", root => TokenizerFixture.SplitFirst(root, "(a+)+$") },
        { "pre_tokenizer.pretokenizers[0].behavior", root => TokenizerFixture.SplitFirst(root, "x", "Contiguous") },
        { "decoder", root => root["decoder"] = null },
        { "decoder.type", root => root["decoder"]!["type"] = "Metaspace" },
        { "pre_tokenizer.type", root => root["decoder"] = Sequence("decoders") },
        { "decoder.decoders[0].type", root => root["decoder"] = Sequence("decoders", new JsonObject { ["type"] = "WordPiece" }) },
        { "decoder.decoders[1].type", root => root["decoder"] = Sequence(
            "decoders", new JsonObject { ["type"] = "ByteFallback" }, Replace(" ")) },
    };

    // Of a model over characters.
    public static TheoryData<string, Action<JsonObject>> BrokenCharacterFiles => new()
    {
        { "model.type", root => root["model"]!["type"] = "Unigram" },
        { "model.type", root => root["model"]!["type"] = "WordPiece" },
        { "model.unk_token", root => (root["model"]!["byte_fallback"], root["model"]!["unk_token"]) = (false, null) },
        { "model.unk_token", root => root["model"]!["unk_token"] = "<nothing>" },
        { "model.unk_token", root => root["model"]!["unk_token"] = 0 },
        { "model.fuse_unk", root => root["model"]!["fuse_unk"] = 1 },
        { "model.vocab", root =>
            {
                root["model"]!["unk_token"] = null;
                ((JsonObject)root["model"]!["vocab"]!).Remove("<0xC3>");
            } },
        { "model.merges[0]", root => ((JsonArray)root["added_tokens"]!).Add(
            new JsonObject { ["content"] = Made(root), ["id"] = root["model"]!["vocab"]![Made(root)]!.DeepClone(), ["special"] = true }) },
        { "pre_tokenizer.type", root => root["pre_tokenizer"] = new JsonObject { ["type"] = "ByteLevel" } },
        { "pre_tokenizer.replacement", root => root["pre_tokenizer"] = new JsonObject { ["type"] = "Metaspace", ["replacement"] = "▁▁" } },
        { "pre_tokenizer.prepend_scheme", root => root["pre_tokenizer"] = new JsonObject
            { ["type"] = "Metaspace", ["replacement"] = "▁", ["prepend_scheme"] = "last" } },
        { "pre_tokenizer.prepend_scheme", root => root["pre_tokenizer"] = new JsonObject
            { ["type"] = "Metaspace", ["replacement"] = "▁", ["prepend_scheme"] = "first", ["add_prefix_space"] = false } },
        { "pre_tokenizer.pretokenizers[1].type", root => root["pre_tokenizer"] = Sequence(
            "pretokenizers", new JsonObject { ["type"] = "Digits" }, new JsonObject { ["type"] = "Metaspace", ["replacement"] = "▁" }) },
        { "pre_tokenizer.pattern.String", root => root["pre_tokenizer"] = new JsonObject
            { ["type"] = "Split", ["pattern"] = new JsonObject { ["String"] = "😀" }, ["behavior"] = "Isolated" } },
        { "decoder.decoders[3].stop", root => root["decoder"]!["decoders"]![3]!["stop"] = 1 },
        { "decoder.decoders[3].start", root => root["decoder"]!["decoders"]![3]!["start"] = -1 },
        { "decoder.decoders[3].content", root => root["decoder"]!["decoders"]![3]!["content"] = "x" },
        { "decoder.decoders[2].type", root => root["decoder"]!["decoders"]!.AsArray().RemoveAt(2) },
    };

    [Theory]
    [MemberData(nameof(BrokenCharacterFiles), DisableDiscoveryEnumeration = true)]
    public void A_broken_entry_of_a_model_over_characters_is_named(string entry, Action<JsonObject> breakIt)
    {
        JsonObject root = GoldenFamilies.Json("llama2");
        TokenizerFixture.Load(root.ToJsonString());
        breakIt(root);
        Assert.Equal(entry, Assert.Throws<TokenizerFormatException>(() => TokenizerFixture.Load(root.ToJsonString())).Entry);
    }

    private static JsonObject Sequence(string name, params JsonNode[] steps) => new() { ["type"] = "Sequence", [name] = new JsonArray(steps) };

    private static JsonObject Replace(string text) => new()
    {
        ["type"] = "Replace",
        ["pattern"] = new JsonObject { ["String"] = text },
        ["content"] = "▁",
    };

    // What the first merge makes.
    private static string Made(JsonObject root) => string.Concat(root["model"]!["merges"]![0]!.AsArray().Select(part => part!.GetValue<string>()));

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
}
