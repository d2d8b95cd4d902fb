using KvPrune.AI.Runtimes;
using KvPrune.AI.Sampling;

namespace KvPrune.Eval.Running;

/// <summary>Answers from several sequences at once, greedily, one batch a step.</summary>
internal sealed class GreedyAnswers(EvalModel model)
{
    private readonly TokenSampler _greedy = new(SamplingOptions.Greedy);

    /// <summary>An answer.</summary>
    /// <param name="Tokens">Its tokens without the end token, which is not in the sequence either.</param>
    /// <param name="Ended">Whether an end token followed.</param>
    internal sealed record Answer(List<int> Tokens, bool Ended);

    /// <param name="sequences">The sequences; the answers' tokens are added to them.</param>
    /// <param name="firstLogits">Logits [vocabulary] that each sequence's answer begins with.</param>
    /// <param name="maxTokens">The most tokens of an answer.</param>
    /// <param name="cancellation">Ends it between two steps.</param>
    public Answer[] Generate(
        IReadOnlyList<IDecoderSequence> sequences, Func<int, ReadOnlyMemory<float>> firstLogits, int maxTokens, CancellationToken cancellation)
    {
        int vocabulary = model.Decoder.VocabularySize;
        var answers = new Answer[sequences.Count];
        var logits = new float[sequences.Count * vocabulary];
        List<int> running = [];
        for (int i = 0; i < sequences.Count; i++)
        {
            int token = _greedy.Sample(firstLogits(i).Span);
            answers[i] = new Answer(model.EndsAnswer(token) ? [] : [token], model.EndsAnswer(token));
            if (!answers[i].Ended) running.Add(i);
        }
        while (running.Count > 0)
        {
            cancellation.ThrowIfCancellationRequested();
            model.Decoder.Decode([.. running.Select(i => sequences[i])], [.. running.Select(i => answers[i].Tokens[^1])], logits);
            for (int row = 0; row < running.Count; row++)
            {
                int i = running[row];
                int token = _greedy.Sample(logits.AsSpan(row * vocabulary, vocabulary));
                if (model.EndsAnswer(token)) answers[i] = answers[i] with { Ended = true };
                else answers[i].Tokens.Add(token);
            }
            // The last token of an answer that is cut off is read too, as it is in one that ends by itself.
            running.RemoveAll(i => answers[i].Ended || answers[i].Tokens.Count > maxTokens);
        }
        foreach (Answer answer in answers.Where(answer => answer.Tokens.Count > maxTokens)) answer.Tokens.RemoveAt(maxTokens);
        return answers;
    }
}
