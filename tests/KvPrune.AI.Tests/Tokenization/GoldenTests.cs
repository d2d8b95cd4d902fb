using System.Diagnostics;
using System.Text;
using System.Text.Json;
using KvPrune.AI.Templates;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Tests.Tokenization;

/// <summary>Every family of tokenizers gives the ids that Hugging Face's tokenizers give, and the text back.</summary>
public sealed class GoldenTests
{
    public static TheoryData<string> Families => [.. GoldenFamilies.Names];

    [Theory]
    [MemberData(nameof(Families))]
    public void Ids_are_those_of_Hugging_Face(string family)
    {
        HfTokenizer tokenizer = GoldenFamilies.Load(family);
        uint[] expected = GoldenFamilies.ExpectedHashes(family);
        Assert.Equal(2000, expected.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            string line = GoldenFamilies.Lines[i];
            int[] ids = tokenizer.Encode(new RenderedPrompt(line, []));
            Assert.True(
                expected[i] == GoldenFamilies.Hash(ids, tokenizer.Encode(line)),
                $"line {i}, {JsonSerializer.Serialize(line)}: {string.Join(' ', ids)}");
        }
    }

    // A model without bytes loses characters that have no token; a token looked for in normalised text stands for the
    // space before it too, also where merges made it within a word.
    public static TheoryData<string> KeepingText =>
        [.. GoldenFamilies.Names.Where(name => name is not ("unknown-fused" or "unknown-single" or "normalized-tokens"))];

    [Theory]
    [MemberData(nameof(KeepingText))]
    public void Text_comes_back_at_once_and_token_by_token(string family)
    {
        HfTokenizer tokenizer = GoldenFamilies.Load(family);
        foreach (string line in GoldenFamilies.Lines)
        {
            int[] ids = tokenizer.Encode(line);
            string text = tokenizer.Decode(ids);
            Assert.Equal(ExpectedText(family, line), text);

            StreamingDetokenizer detokenizer = tokenizer.CreateDetokenizer();
            var streamed = new StringBuilder();
            foreach (int id in ids)
                streamed.Append(detokenizer.Append(id));
            Assert.Equal(text, streamed.Append(detokenizer.Flush()).ToString());
        }
    }

    // Runs that patterns could go back over again and again. Twenty times what was measured.
    [Theory]
    [MemberData(nameof(Families))]
    public void Long_runs_take_time_in_proportion_to_their_length(string family)
    {
        HfTokenizer tokenizer = GoldenFamilies.Load(family);
        foreach (string unit in (string[])["A", "a", "aA", "é\u0301", "你", "1", " ", " \n", "\n", "\t\u3000", "-", "'s", "/", "😀", "𝐀"])
        {
            string text = string.Concat(Enumerable.Repeat(unit, 40_000 / unit.Length)) + "x";
            var watch = Stopwatch.StartNew();
            tokenizer.Encode(text);
            Assert.True(watch.Elapsed < TimeSpan.FromSeconds(5), $"{JsonSerializer.Serialize(unit)}: {watch.Elapsed}");
        }
    }

    // What a tokenizer does not keep: decomposed characters, marks that are no spaces, a space before the text.
    private static string ExpectedText(string family, string line) => family switch
    {
        "qwen2" => ComposedForm.Of(line),
        "gpt2-prefix-space" => line is [] or [' ', ..] ? line : " " + line,
        "mistral3" or "metaspace-words" => Marked(line) is [' ', .. string rest] ? rest : Marked(line),
        _ when GoldenFamilies.IsByteLevel(family) => line,
        _ => Marked(line),
    };

    private static string Marked(string line) => line.Replace('▁', ' ');
}
