using System.Text.Json;
using KvPrune.AI.Runtimes;
using KvPrune.Eval.Methods;
using KvPrune.Eval.Results;
using KvPrune.Eval.Running;
using KvPrune.Eval.Tasks;
using KvPrune.OnnxOps;

namespace KvPrune.Eval.Tests.Running;

/// <summary>Runs on a model of its own: a model is used by one thread at a time, and test classes run beside each other.</summary>
public sealed class RunnerTests : IDisposable
{
    private static readonly Method[] Methods = [.. MethodCatalogue.Select(["int8", "token-kv80"])];

    private readonly EvalModel _model = EvalModel.Load(Bundled.Folder, threads: 1);

    [Fact]
    public void Reference_answers_come_out_as_exact()
    {
        using JsonDocument json = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Bundled.Folder, "reference", "greedy_answers.json")));
        string document = json.RootElement.GetProperty("document").GetString()!;
        foreach (JsonElement reference in json.RootElement.GetProperty("samples").EnumerateArray())
        {
            var question = new Question(reference.GetProperty("question").GetString()!, reference.GetProperty("answer").GetString()!.Trim());
            PromptEncoder.Prompt prompt = _model.Prompts.Encode(document, question.Text);
            Assert.Equal(reference.GetProperty("input_ids").EnumerateArray().Select(id => id.GetInt32()), prompt.Tokens);
            var sample = new Sample("reference", prompt.Tokens.Length, 0, prompt.Tokens, prompt.DocumentTokens, question, [], null);
            foreach (AnswerMeasurement answer in Ask(sample, AskMode.Aware, AskMode.Agnostic))
            {
                if (answer.Method == "dense") Assert.Equal((question.AnswerText, true, 1.0), (answer.Text, answer.Exact, answer.Score));
            }
        }
    }

    /// <summary>The model's README: 97 of 100 such prompts are answered right up to 2,048 tokens.</summary>
    [Fact]
    public void The_dense_model_answers_what_its_README_says()
    {
        var factory = new SampleFactory(_model.Prompts, seed: 1);
        List<AnswerMeasurement> answers = [];
        foreach (IEvalTask task in TaskCatalogue.Create(Bundled.Text).Where(task => !task.CountsWords))
        {
            for (int index = 0; index < 5; index++)
                answers.AddRange(Ask(factory.Create(task, 300, index), AskMode.Aware, AskMode.Agnostic, AskMode.Second));
        }
        foreach (IGrouping<AskMode, AnswerMeasurement> mode in answers.Where(answer => answer.Method == "dense").GroupBy(answer => answer.Mode))
        {
            Assert.Equal(mode.Key == AskMode.Second ? 25 : 30, mode.Count());
            Assert.InRange(mode.Average(answer => answer.Exact ? 1.0 : 0.0), 0.86, 1); // 4 of 30 wrong has a probability below 2 %
        }
        // Pruning this far costs answers, so the compressed cache really is what answers come from.
        double Score(string method) => answers.Where(answer => answer.Method == method).Average(answer => answer.Score);
        Assert.True(Score("token-kv80") < Score("dense"));
    }

    [Fact]
    public void A_prompt_sealed_by_several_methods_is_each_method_alone()
    {
        int[] tokens = new SampleFactory(_model.Prompts, seed: 2).Create(TaskCatalogue.Create(Bundled.Text)[1], 300, 0).Tokens;
        using var together = CompressedPrompt.Read(_model, tokens, Methods, CancellationToken.None);
        for (int i = 0; i < Methods.Length; i++)
        {
            using KvDecoderSequence alone = _model.Decoder.CreateSequence(Methods[i].Policy);
            var logits = new float[_model.Decoder.VocabularySize];
            CompressedPrompt.ReadSegment(_model, alone, tokens, logits, CancellationToken.None);
            Assert.Equal(CacheBytes.Of(alone, _model.Decoder.Shape), CacheBytes.Of(together.Sequences[i], _model.Decoder.Shape));
            float[] next = new float[logits.Length], expected = new float[logits.Length];
            _model.Decoder.Decode([together.Sequences[i]], [300], next);
            _model.Decoder.Decode([alone], [300], expected);
            Assert.All(next.Zip(expected), pair => Assert.Equal(pair.Second, pair.First, 1e-3));
        }
    }

    [Fact]
    public void Perplexity_is_scored_on_what_reads_the_compressed_cache()
    {
        var text = new TextTokens(_model.Prompts, Bundled.Text, seed: 1);
        TextMeasurement[] results = [.. new TextRunner(_model, text).Run(Methods, 256, 0, CancellationToken.None).Cast<TextMeasurement>()];
        (int[] prefix, int[] following) = text.Cut(TextMeasurement.TaskName, 256, 0, TextRunner.ScoredTokens + 1);
        Assert.Equal(256, prefix.Length);

        // The same with a segment a token, one method at a time.
        using KvDecoderSequence sequence = _model.Decoder.CreateSequence(PruningPolicy.Dense);
        var logits = new float[_model.Decoder.VocabularySize];
        var log = new double[logits.Length];
        CompressedPrompt.ReadSegment(_model, sequence, prefix, logits, CancellationToken.None);
        double expected = 0;
        for (int i = 0; i < TextRunner.ScoredTokens; i++)
        {
            _model.Decoder.Decode([sequence], [following[i]], logits);
            Distribution.LogProbabilities(logits, log);
            expected -= log[following[i + 1]];
        }
        Assert.Equal(expected, results[0].NegativeLogLikelihood, 1e-3 * expected);
        Assert.Equal((0, TextRunner.ScoredTokens), (results[0].Divergence, results[0].SameChoice));
        Assert.True(results[1].Divergence < results[2].Divergence);
        Assert.True(results[1].SameChoice > results[2].SameChoice);
        Assert.True(results[2].SameChoice > TextRunner.ScoredTokens / 3);
    }

    [Fact]
    public void Drift_is_measured_to_the_last_token_of_the_context()
    {
        var runner = new DriftRunner(_model, new TextTokens(_model.Prompts, Bundled.Text, seed: 1));
        int reported = 0;
        DriftMeasurement[] results = [.. runner.Run(Methods, 300, 0, done => reported = done, CancellationToken.None).Cast<DriftMeasurement>()];
        Assert.Equal(300, reported);
        Assert.All(results, result => Assert.Equal([(0, 256), (256, 44)], result.Steps.Select(bucket => (bucket.First, bucket.Tokens))));
        Assert.All(results[0].Steps, bucket => Assert.Equal((0, bucket.Tokens), (bucket.Divergence, bucket.SameChoice)));
        Assert.True(results[1].Steps.Sum(bucket => bucket.Divergence) < results[2].Steps.Sum(bucket => bucket.Divergence));
        Assert.All(results, result => Assert.InRange(result.RepeatedShare, 0, 0.5));
        Assert.Equal(2560 * 556, results[0].Bytes.Dense);
    }

    public void Dispose() => _model.Dispose();

    private IEnumerable<AnswerMeasurement> Ask(Sample sample, params AskMode[] modes) => new AnswerRunner(_model)
        .Run(sample, modes.Where(mode => mode != AskMode.Second || sample.Second is not null).ToDictionary(mode => mode, _ => (IReadOnlyList<Method>)Methods), CancellationToken.None)
        .Cast<AnswerMeasurement>();
}
