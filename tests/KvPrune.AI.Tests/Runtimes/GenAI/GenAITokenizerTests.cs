using KvPrune.AI.Templates;
using KvPrune.AI.Tests.Tokenization;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Tests.Runtimes.GenAI;

/// <summary>GenAI's tokenizer and ours are independent of each other: each is the other's oracle.</summary>
public sealed class GenAITokenizerTests : IDisposable
{
    private readonly GenAITextFixture _genai = new(BundledModel.Folder);
    private readonly IPromptTokenizer _ours = TokenizerFixture.Tokenizer;

    public void Dispose() => _genai.Dispose();

    [Fact]
    public void Ids_of_2000_lines_equal_ours()
    {
        var generator = new TextGenerator(41);
        string[] special = [.. _ours.SpecialTokens.Keys];
        List<string> differing = [];
        for (int i = 0; i < 2000; i++)
        {
            string line = generator.Line() + (generator.Next(3) == 0 ? generator.Pick(special) + generator.Line() : "");
            var prompt = new RenderedPrompt(line, []);
            int[] ours = _ours.Encode(new RenderedPrompt(line.Replace((char)0, (char)0xFFFD), [])).Tokens;
            int[] theirs = _genai.Text.Tokenizer.Encode(prompt).Tokens;
            if (!ours.SequenceEqual(theirs)) differing.Add(line);
        }
        Assert.True(differing.Count == 0, $"{differing.Count}: " + string.Join("\n", differing.Take(60).Select(l => System.Text.Json.JsonSerializer.Serialize(l))));
    }
}
