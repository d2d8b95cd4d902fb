using System.Numerics.Tensors;
using KvPrune.AI.Runtimes;
using KvPrune.Eval.Methods;
using KvPrune.Eval.Results;

namespace KvPrune.Eval.Running;

/// <summary>
/// Perplexity with a compressed cache: a prefix is read and compressed, then the text goes on token by token. Only
/// predictions that read the compressed cache are scored, so not the first one, which the prefix itself ends with.
/// </summary>
internal sealed class TextRunner(EvalModel model, TextTokens text)
{
    /// <summary>Predictions that are scored after each prefix.</summary>
    public const int ScoredTokens = 128;

    /// <param name="methods">The baseline first.</param>
    /// <param name="length">Tokens of the prefix.</param>
    /// <param name="index">Which sample.</param>
    /// <param name="cancellation">Ends it between two steps.</param>
    public List<Measurement> Run(IReadOnlyList<Method> methods, int length, int index, CancellationToken cancellation)
    {
        (int[] prefix, int[] following) = text.Cut(TextMeasurement.TaskName, length, index, ScoredTokens + 1);
        using var prompt = CompressedPrompt.Read(model, prefix, methods, cancellation);
        CacheBytes[] bytes = [.. prompt.Sequences.Select(sequence => CacheBytes.Of(sequence, model.Decoder.Shape))];
        IDecoderSequence[] sequences = [.. prompt.Sequences];
        int vocabulary = model.Decoder.VocabularySize;
        var logits = new float[methods.Count * vocabulary];
        double[] baseline = new double[vocabulary], own = new double[vocabulary], likelihood = new double[methods.Count], divergence = new double[methods.Count];
        var same = new int[methods.Count];
        for (int step = 0; step < ScoredTokens; step++)
        {
            cancellation.ThrowIfCancellationRequested();
            model.Decoder.Decode(sequences, [.. Enumerable.Repeat(following[step], methods.Count)], logits);
            Distribution.LogProbabilities(logits.AsSpan(0, vocabulary), baseline);
            int choice = TensorPrimitives.IndexOfMax(logits.AsSpan(0, vocabulary));
            for (int i = 0; i < methods.Count; i++)
            {
                ReadOnlySpan<float> row = logits.AsSpan(i * vocabulary, vocabulary);
                Distribution.LogProbabilities(row, own);
                likelihood[i] -= own[following[step + 1]];
                divergence[i] += Distribution.Divergence(baseline, own);
                if (TensorPrimitives.IndexOfMax(row) == choice) same[i]++;
            }
        }
        return
        [
            .. methods.Select((method, i) => new TextMeasurement(
                method.Name, method.Fingerprint, length, index, ScoredTokens, likelihood[i], divergence[i], same[i]) { Bytes = bytes[i] }),
        ];
    }
}
