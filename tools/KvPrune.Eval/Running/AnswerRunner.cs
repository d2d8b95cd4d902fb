using KvPrune.AI.Runtimes;
using KvPrune.Eval.Methods;
using KvPrune.Eval.Results;
using KvPrune.Eval.Tasks;

namespace KvPrune.Eval.Running;

/// <summary>Asks questions about prompts compressed by several methods.</summary>
internal sealed class AnswerRunner(EvalModel model)
{
    // For models that put a sentence around the answer.
    private const int SpareAnswerTokens = 32;

    private readonly GreedyAnswers _answers = new(model);

    /// <summary>Runs the given methods on one sample, in the modes that each is missing.</summary>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public List<Measurement> Run(
        Sample sample, IReadOnlyDictionary<AskMode, IReadOnlyList<Method>> missing, CancellationToken cancellation)
    {
        List<Measurement> results = [];
        IReadOnlyList<Method> aware = missing.GetValueOrDefault(AskMode.Aware, []), second = missing.GetValueOrDefault(AskMode.Second, []);
        // Both modes compress the same prompt.
        Method[] withQuestion = [.. aware.Union(second)];
        if (withQuestion.Length > 0)
        {
            foreach (AnswerMeasurement result in RunAware(sample, withQuestion, second, cancellation))
            {
                IReadOnlyList<Method> wanted = result.Mode == AskMode.Aware ? aware : second;
                if (wanted.Any(method => method.Name == result.Method)) results.Add(result);
            }
        }
        if (missing.GetValueOrDefault(AskMode.Agnostic, []) is { Count: > 0 } agnostic)
            results.AddRange(RunAgnostic(sample, agnostic, cancellation));
        return results;
    }

    private IEnumerable<AnswerMeasurement> RunAware(
        Sample sample, Method[] methods, IReadOnlyList<Method> goOn, CancellationToken cancellation)
    {
        using var prompt = CompressedPrompt.Read(model, sample.Tokens, methods, cancellation);
        CacheBytes[] bytes = [.. prompt.Sequences.Select(Bytes)];
        GreedyAnswers.Answer[] answers = Generate(prompt.Sequences, _ => prompt.Logits, sample.First, cancellation);
        for (int i = 0; i < methods.Length; i++)
            yield return Judge(sample, AskMode.Aware, methods[i], sample.First, answers[i], bytes[i]);

        if (goOn.Count == 0 || sample.Second is not { } second) yield break;
        int[] chosen = [.. Enumerable.Range(0, methods.Length).Where(i => goOn.Contains(methods[i]))];
        answers = Ask([.. chosen.Select(i => prompt.Sequences[i])], sample.FollowUp, second, cancellation);
        for (int i = 0; i < chosen.Length; i++)
            yield return Judge(sample, AskMode.Second, methods[chosen[i]], second, answers[i], bytes[chosen[i]]);
    }

    private IEnumerable<AnswerMeasurement> RunAgnostic(Sample sample, IReadOnlyList<Method> methods, CancellationToken cancellation)
    {
        using var prompt = CompressedPrompt.Read(model, sample.Tokens.AsSpan(0, sample.DocumentTokens), methods, cancellation);
        CacheBytes[] bytes = [.. prompt.Sequences.Select(Bytes)];
        GreedyAnswers.Answer[] answers = Ask(prompt.Sequences, sample.Tokens[sample.DocumentTokens..], sample.First, cancellation);
        for (int i = 0; i < methods.Count; i++)
            yield return Judge(sample, AskMode.Agnostic, methods[i], sample.First, answers[i], bytes[i]);
    }

    private GreedyAnswers.Answer[] Ask(
        IReadOnlyList<IDecoderSequence> sequences, int[] tokens, Question question, CancellationToken cancellation)
    {
        int vocabulary = model.Decoder.VocabularySize;
        var logits = new float[sequences.Count * vocabulary];
        for (int i = 0; i < sequences.Count; i++)
            CompressedPrompt.ReadSegment(model, sequences[i], tokens, logits.AsSpan(i * vocabulary, vocabulary), cancellation);
        return Generate(sequences, i => logits.AsMemory(i * vocabulary, vocabulary), question, cancellation);
    }

    private GreedyAnswers.Answer[] Generate(
        IReadOnlyList<IDecoderSequence> sequences, Func<int, ReadOnlyMemory<float>> logits, Question question, CancellationToken cancellation) =>
        _answers.Generate(sequences, logits, model.Prompts.EncodeText(question.AnswerText).Length + SpareAnswerTokens, cancellation);

    private AnswerMeasurement Judge(
        Sample sample, AskMode mode, Method method, Question question, GreedyAnswers.Answer answer, CacheBytes bytes)
    {
        string text = model.Decode(answer.Tokens).Trim();
        return new AnswerMeasurement(
            method.Name, method.Fingerprint, sample.Length, sample.Index, sample.Task, mode,
            question.Score(text), answer.Ended && text == question.AnswerText, text)
        {
            Bytes = bytes,
        };
    }

    private CacheBytes Bytes(IDecoderSequence sequence) => CacheBytes.Of(sequence, model.Decoder.Shape);
}
