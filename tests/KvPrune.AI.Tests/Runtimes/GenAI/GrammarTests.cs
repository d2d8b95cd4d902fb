using System.Text.Json;
using System.Text.RegularExpressions;
using KvPrune.AI.Models;
using KvPrune.AI.Runtimes;
using KvPrune.AI.Runtimes.GenAI;
using KvPrune.AI.Sampling;
using KvPrune.AI.Tokenization;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Tests.Runtimes.GenAI;

public sealed class GrammarTests : IDisposable
{
    private const string Schema = """
        {
          "type": "object",
          "properties": { "name": { "type": "string", "maxLength": 12 }, "age": { "type": "integer", "minimum": 0, "maximum": 200 } },
          "required": ["name", "age"],
          "additionalProperties": false
        }
        """;

    private static readonly int[] Prompt = BundledModel.ReferencePrompt.Tokens;
    private static readonly IReadOnlyList<int> EndTokens = GenAIModelFolder.Load(BundledModel.Folder).EndTokens;

    private readonly GenAIDecoder _decoder = TestDecoders.LoadGenAI(BundledModel.Folder);
    private readonly HfTokenizer _tokenizer = HfTokenizer.Load(Path.Combine(BundledModel.Folder, "tokenizer.json"));

    public static TheoryData<int?> Seeds => new((int?)null, 1, 2, 3);

    public void Dispose() => _decoder.Dispose();

    [Theory]
    [MemberData(nameof(Seeds))]
    public void An_answer_matches_its_expression(int? seed) =>
        Assert.Matches("^[0-9]{3}-[a-z]{2,5}é$", Answer(Guidance.Regex("[0-9]{3}-[a-z]{2,5}é"), seed));

    [Theory]
    [MemberData(nameof(Seeds))]
    public void An_answer_fits_its_schema(int? seed)
    {
        string answer = Answer(Guidance.JsonSchema(Schema), seed);
        using JsonDocument json = JsonDocument.Parse(answer);
        Assert.Equal(["age", "name"], json.RootElement.EnumerateObject().Select(property => property.Name).Order());
        Assert.InRange(json.RootElement.GetProperty("age").GetInt32(), 0, 200);
        Assert.InRange(json.RootElement.GetProperty("name").GetString()!.Length, 0, 12);
    }

    [Fact]
    public void An_answer_is_of_its_grammar() =>
        Assert.Matches("^(yes|no)+!$", Answer(Guidance.Lark("start: answer answer? \"!\"\nanswer: \"yes\" | \"no\""), seed: 4));

    [Fact]
    public void One_grammar_serves_answers_one_after_the_other()
    {
        // More grammars than are kept; each answer begins its grammar anew, also after one that was broken off.
        for (int round = 0; round < 2; round++)
        {
            for (int digits = 1; digits <= 6; digits++)
            {
                Guidance guidance = Guidance.Regex($"[0-9]{{{digits}}}[a-z]");
                using (IGuidedSampler broken = _decoder.Guide(guidance, SamplingOptions.Greedy)) broken.Sample(new float[_decoder.VocabularySize]);
                Assert.Matches($"^[0-9]{{{digits}}}[a-z]$", Answer(guidance, seed: round));
            }
        }
    }

    [Fact]
    public void Within_the_grammar_the_likeliest_token_is_drawn()
    {
        // All that the model would say is allowed, so the grammar changes nothing.
        Assert.Equal(Answer(guidance: null, seed: null), Answer(Guidance.Regex("(.|\n)*"), seed: null));
    }

    [Fact]
    public void Answers_with_equal_seeds_are_equal() =>
        Assert.Equal(Answer(Guidance.JsonSchema(Schema), seed: 9), Answer(Guidance.JsonSchema(Schema), seed: 9));

    [Theory]
    [InlineData("regex", "(a", "unclosed group")]
    [InlineData("json_schema", "{\"type\": 5}", "type")]
    [InlineData("json_schema", "{", "Expected depth to be zero")]
    [InlineData("json_schema", """{"type":"object","type":"object"}""", "type")]
    [InlineData("lark_grammar", "start: missing", "missing")]
    [InlineData("lark_grammar", "start: \"a\" }\nb: %lark {", "}")]
    public void A_grammar_that_cannot_be_used_is_refused(string kind, string grammar, string words)
    {
        Guidance guidance = kind switch
        {
            "regex" => Guidance.Regex(grammar),
            "json_schema" => Guidance.JsonSchema(grammar),
            _ => Guidance.Lark(grammar),
        };
        var error = Assert.Throws<ArgumentException>(() => _decoder.Guide(guidance, SamplingOptions.Greedy));
        Assert.Contains(kind, error.Message, StringComparison.Ordinal);
        Assert.Contains(words, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("<[", error.Message, StringComparison.Ordinal); // no word of what was put around it
    }

    [Theory]
    [InlineData("regex", "a/b", "a/b")]
    [InlineData("regex", @"a\/\\//b", @"a/\//b")]
    [InlineData("regex", @"// #\{x""'", """// #{x"'""")]
    [InlineData("regex", "a\nb", "a\nb")]
    [InlineData("lark", "start: a B // c }\na: \"{x}\"\nB: /}y/ # c", "{x}}y")]
    [InlineData("lark", "start: %json { \"const\": 5 } \"z\"", "5z")]
    [InlineData("lark", "start: <|user|> \"z\"", "z")] // decoding leaves out the special token
    [InlineData("schema", """{"const":"a/b"}""", "\"a/b\"")]
    [InlineData("schema", """{"const":{"a":[1,2]},"x-guidance":{"whitespace_flexible":false}}""", """{"a":[1,2]}""")]
    public void A_grammar_of_one_text_gives_it(string kind, string grammar, string text) => Assert.Equal(text, Answer(
        kind switch { "regex" => Guidance.Regex(grammar), "lark" => Guidance.Lark(grammar), _ => Guidance.JsonSchema(grammar) }, seed: 1));

    [Fact]
    public void A_schema_may_be_deep()
    {
        string schema = "{\"const\":1}";
        for (int i = 0; i < 40; i++) schema = $$"""{"type":"array","minItems":1,"maxItems":1,"items":{{schema}}}""";
        Assert.Equal(new string('[', 40) + 1 + new string(']', 40), Answer(Guidance.JsonSchema(schema), seed: 1));
        for (int i = 0; i < 200; i++) schema = $$"""{"items":{{schema}}}""";
        Assert.Contains("json_schema", Assert.Throws<ArgumentException>(() => _decoder.Guide(Guidance.JsonSchema(schema), SamplingOptions.Greedy)).Message);
    }

    // GenAI begins such a grammar anew and says nothing.
    [Fact]
    public void A_grammar_that_becomes_too_complex_fails_its_answer()
    {
        int[] letters = [.. Enumerable.Range(0, 400)];
        string terminals = string.Concat(letters.Select(i => $"T{i}: /[{(char)('a' + (i % 20))}-z{(char)('A' + (i / 20))}]/\n"));
        var hard = Guidance.Lark($"start: D D x x x x x x x x\nx: {string.Join('|', letters.Select(i => $"T{i}"))}\nD: /[0-9]/\n{terminals}");
        using IGuidedSampler sampler = _decoder.Guide(hard, SamplingOptions.Greedy);
        var logits = new float[_decoder.VocabularySize];
        var error = Assert.Throws<GenAIException>(() =>
        {
            for (int i = 0; i < 4; i++) sampler.Sample(logits);
        });
        Assert.Contains("too complex", error.Message, StringComparison.Ordinal);
        sampler.Dispose();
        Assert.Matches("^[0-9]{3}$", Answer(Guidance.Regex("[0-9]{3}"), seed: 1)); // others go on
    }

    // GenAI reads everything again when answers of these types reach a certain length.
    [Theory]
    [InlineData("phi3", 2100)]
    [InlineData("phi3small", 4200)]
    public void Long_answers_of_any_type_of_model_follow_their_grammar(string type, int tokens)
    {
        using AlteredFolder folder = new AlteredFolder().Change("genai_config.json", root => root["model"]!["type"] = type);
        using var grammars = new Grammars(GenAIModelFolder.Load(folder.Path));
        using GrammarSampler sampler = grammars.CreateSampler(Guidance.Regex("([a-z]{6}[0-9])*"), new TokenSampler(SamplingOptions.Greedy));
        var logits = new float[_decoder.VocabularySize];
        string answer = _tokenizer.Decode(Enumerable.Range(0, tokens).Select(_ => sampler.Sample(logits)).ToArray());
        Assert.Matches("^([a-z]{6}[0-9])*[a-z]{0,6}$", answer);
        Assert.True(answer.Length >= tokens);
    }

    [Fact]
    public async Task Grammars_are_made_and_given_back_by_several_threads()
    {
        await Task.WhenAll(Enumerable.Range(0, 4).Select(thread => Task.Run(() =>
        {
            for (int i = 0; i < 6; i++)
            {
                using IGuidedSampler sampler = _decoder.Guide(Guidance.Regex($"[0-9]{{{1 + ((thread + i) % 5)}}}x"), SamplingOptions.Greedy);
                int token = sampler.Sample(new float[_decoder.VocabularySize]);
                Assert.Matches("^[0-9]", _tokenizer.Decode([token]));
            }
        })));
        _decoder.Dispose();
        Assert.Throws<ObjectDisposedException>(() => _decoder.Guide(Guidance.Regex("a"), SamplingOptions.Greedy));
    }

    [Fact]
    public void A_failed_step_of_the_model_leaves_the_grammar_as_it_was()
    {
        using IDecoderSequence sequence = _decoder.CreateSequence(PruningPolicy.Exact);
        using IGuidedSampler sampler = _decoder.Guide(Guidance.Regex("[0-9]{12}"), SamplingOptions.Greedy);
        string answer = Generate(sequence, sampler, _decoder.Read(sequence, Prompt), beforeEachStep: () =>
            Assert.Throws<GenAIException>(() => _decoder.Add(sequence, 99_999)));
        Assert.Matches("^[0-9]{12}$", answer);
    }

    [Fact]
    public void Forks_of_one_prompt_have_grammars_of_their_own()
    {
        using IDecoderSequence prompt = _decoder.CreateSequence(PruningPolicy.Compact);
        float[] logits = _decoder.Read(prompt, Prompt);
        using IDecoderSequence digits = prompt.Fork(), letters = prompt.Fork();
        using IGuidedSampler digitSampler = _decoder.Guide(Guidance.Regex("[0-9]{5}"), SamplingOptions.Greedy);
        using IGuidedSampler letterSampler = _decoder.Guide(Guidance.Regex("[a-z]{5}"), SamplingOptions.Greedy);
        Assert.Matches("^[0-9]{5}$", Generate(digits, digitSampler, logits));
        Assert.Matches("^[a-z]{5}$", Generate(letters, letterSampler, logits));
    }

    private string Answer(Guidance? guidance, int? seed)
    {
        using IDecoderSequence sequence = _decoder.CreateSequence(PruningPolicy.Exact);
        SamplingOptions sampling = seed is { } s ? new() { Temperature = 1.5f, TopP = 0.99f, Seed = s } : SamplingOptions.Greedy;
        using IGuidedSampler? guided = guidance is null ? null : _decoder.Guide(guidance, sampling);
        return Generate(sequence, guided ?? (ITokenSampler)new TokenSampler(sampling), _decoder.Read(sequence, Prompt));
    }

    private string Generate(IDecoderSequence sequence, ITokenSampler sampler, float[] logits, Action? beforeEachStep = null)
    {
        List<int> answer = [];
        for (int token; !EndTokens.Contains(token = sampler.Sample(logits)); logits = _decoder.Add(sequence, token))
        {
            answer.Add(token);
            Assert.True(answer.Count < 100, $"The answer does not end: {_tokenizer.Decode([.. answer])}");
            beforeEachStep?.Invoke();
        }
        return _tokenizer.Decode([.. answer]);
    }
}
