using KvPrune.AI.Runtimes.GenAI;
using KvPrune.AI.Tests.Tokenization;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Tests.Runtimes.GenAI;

public sealed class TokenInventoryTests
{
    [Fact]
    public void The_bundled_tokenizer_has_the_tokens_that_our_reader_finds()
    {
        var inventory = TokenInventory.Read(TestFiles.Path(TokenizerFixture.Path));
        HfTokenizer ours = TokenizerFixture.Tokenizer;
        Assert.Equal(ours.SpecialTokens.OrderBy(t => t.Value), inventory.AddedTokens.Where(t => t.IsSpecial).OrderBy(t => t.Id).Select(t => KeyValuePair.Create(t.Text, t.Id)));
        Assert.Equal(Enumerable.Range(0, ours.VocabularySize + 10).Where(ours.HasToken), inventory.Ids.Order());
        Assert.All(inventory.Ids, id => Assert.True(inventory.Bytes!.Contains(id)));
    }

    [Fact]
    public void A_vocabulary_may_be_a_list_in_the_order_of_ids()
    {
        TokenInventory inventory = Read("""
            {"model":{"type":"Unigram","vocab":[["<unk>",0],["▁a",-1.5],["b",-2]]},"decoder":{"type":"Metaspace"},
             "added_tokens":[{"id":7,"content":"<s>","special":true}]}
            """);
        Assert.Equal([0, 1, 2, 7], inventory.Ids.Order());
        Assert.Null(inventory.Bytes);
    }

    [Fact]
    public void The_configuration_adds_tokens_whose_text_is_new()
    {
        TokenInventory inventory = Read(
            """{"model":{"vocab":{"a":0}},"added_tokens":[{"id":1,"content":"<s>","special":true}]}""",
            """{"added_tokens_decoder":{"5":{"content":"<s>","special":false},"6":{"content":"<t>","special":true}}}""");
        Assert.Equal([new("<s>", 1, true), new("<t>", 6, true)], inventory.AddedTokens);
    }

    [Theory]
    [InlineData("[1", "not valid JSON")]
    [InlineData("{}", "model.vocab")]
    [InlineData("""{"model":{"vocab":{}}}""", "model.vocab")]
    [InlineData("""{"model":{"vocab":{"a":"x"}}}""", "model.vocab['a']")]
    [InlineData("""{"model":{"vocab":[["a",1],[2]]}}""", "model.vocab[1]")]
    [InlineData("""{"model":{"vocab":{"a":0}},"added_tokens":[{"id":1,"content":"b"},{"id":2}]}""", "added_tokens[1]")]
    [InlineData("""{"model":{"vocab":{"a":0}},"added_tokens":[{"content":"b"}]}""", "added_tokens[0]")]
    [InlineData("""{"model":{"vocab":{"a":0}},"added_tokens":[{"id":-1,"content":"b"}]}""", "added_tokens[0]")]
    [InlineData("""{"model":{"vocab":{"\ud800":0}}}""", "Unicode")]
    public void What_is_wrong_is_named(string json, string culprit)
    {
        var error = Assert.Throws<TokenizerFormatException>(() => Read(json));
        Assert.Contains(culprit, error.Message, StringComparison.Ordinal);
        Assert.Contains("tokenizer.json", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_broken_configuration_is_named_and_a_missing_tokenizer_too()
    {
        var error = Assert.Throws<TokenizerFormatException>(() => Read("""{"model":{"vocab":{"a":0}}}""", """{"added_tokens_decoder":{"x":{"content":"b"}}}"""));
        Assert.Contains("tokenizer_config.json", error.Message, StringComparison.Ordinal);
        Assert.Contains("'x'", error.Message, StringComparison.Ordinal);
        Assert.Throws<TokenizerFormatException>(() => TokenInventory.Read(Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid():N}", "tokenizer.json")));
    }

    private static TokenInventory Read(string json, string? configuration = null)
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("kvprune-");
        try
        {
            File.WriteAllText(Path.Combine(folder.FullName, "tokenizer.json"), json);
            if (configuration is not null) File.WriteAllText(Path.Combine(folder.FullName, "tokenizer_config.json"), configuration);
            return TokenInventory.Read(Path.Combine(folder.FullName, "tokenizer.json"));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
