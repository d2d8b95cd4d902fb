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
                using (IDecoderSequence broken = _decoder.CreateSequence(PruningPolicy.Exact))
                    broken.Guide(guidance, SamplingOptions.Greedy).Sample(_decoder.Read(broken, Prompt));
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
    [InlineData("regex", "(a")]
    [InlineData("json_schema", "{\"type\": 5}")]
    [InlineData("json_schema", "{")]
    [InlineData("lark_grammar", "start: missing")]
    public void A_grammar_that_cannot_be_used_is_refused(string kind, string grammar)
    {
        Guidance guidance = kind switch
        {
            "regex" => Guidance.Regex(grammar),
            "json_schema" => Guidance.JsonSchema(grammar),
            _ => Guidance.Lark(grammar),
        };
        using IDecoderSequence sequence = _decoder.CreateSequence(PruningPolicy.Exact);
        var error = Assert.Throws<ArgumentException>(() => sequence.Guide(guidance, SamplingOptions.Greedy));
        Assert.Contains(kind, error.Message, StringComparison.Ordinal);
        Assert.IsType<GenAIException>(error.InnerException);
    }

    [Fact]
    public void A_failed_step_of_the_model_leaves_the_grammar_as_it_was()
    {
        using IDecoderSequence sequence = _decoder.CreateSequence(PruningPolicy.Exact);
        ITokenSampler sampler = sequence.Guide(Guidance.Regex("[0-9]{12}"), SamplingOptions.Greedy);
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
        ITokenSampler digitSampler = digits.Guide(Guidance.Regex("[0-9]{5}"), SamplingOptions.Greedy);
        ITokenSampler letterSampler = letters.Guide(Guidance.Regex("[a-z]{5}"), SamplingOptions.Greedy);
        Assert.Matches("^[0-9]{5}$", Generate(digits, digitSampler, logits));
        Assert.Matches("^[a-z]{5}$", Generate(letters, letterSampler, logits));
    }

    private string Answer(Guidance? guidance, int? seed)
    {
        using IDecoderSequence sequence = _decoder.CreateSequence(PruningPolicy.Exact);
        SamplingOptions sampling = seed is { } s ? new() { Temperature = 1.5f, TopP = 0.99f, Seed = s } : SamplingOptions.Greedy;
        ITokenSampler sampler = guidance is null ? new TokenSampler(sampling) : sequence.Guide(guidance, sampling);
        return Generate(sequence, sampler, _decoder.Read(sequence, Prompt));
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
