using System.Numerics.Tensors;
using KvPrune.AI.Runtimes;
using KvPrune.AI.Sampling;
using KvPrune.Eval.Methods;
using KvPrune.Eval.Results;

namespace KvPrune.Eval.Running;

/// <summary>
/// Long generation: the baseline continues a text, every method reads that continuation along with it, and each writes a
/// continuation of its own with the same random numbers.
/// </summary>
internal sealed class DriftRunner(EvalModel model, TextTokens text)
{
    /// <summary>Tokens that are continued.</summary>
    public const int PrefixTokens = 256;

    private const int GramLength = 4;
    private const int FirstBucketTokens = 256;

    /// <param name="methods">The baseline first.</param>
    /// <param name="steps">Tokens to generate.</param>
    /// <param name="index">Which sample.</param>
    /// <param name="report">Told how many tokens have been generated.</param>
    /// <param name="cancellation">Ends it between two steps.</param>
    public List<Measurement> Run(IReadOnlyList<Method> methods, int steps, int index, Action<int> report, CancellationToken cancellation)
    {
        (int[] prefix, _) = text.Cut(DriftMeasurement.TaskName, PrefixTokens, index, following: 0);
        using var along = CompressedPrompt.Read(model, prefix, methods, cancellation);
        IDecoderSequence[] own = [];
        try
        {
            // The baseline's own continuation is the one that all read along.
            own = [.. along.Sequences.Skip(1).Select(sequence => sequence.Fork())];
            return Run(methods, [.. along.Sequences, .. own], along.Logits, steps, index, report, cancellation);
        }
        finally
        {
            foreach (IDecoderSequence sequence in own) sequence.Dispose();
        }
    }

    private List<Measurement> Run(
        IReadOnlyList<Method> methods, IDecoderSequence[] sequences, float[] first, int steps, int index, Action<int> report,
        CancellationToken cancellation)
    {
        int count = methods.Count, vocabulary = model.Decoder.VocabularySize;
        var writers = new Writer[count];
        for (int i = 0; i < count; i++) writers[i] = new Writer(model.Folder.EndTokens, index);
        var logits = new float[sequences.Length * vocabulary];
        var tokens = new int[sequences.Length];
        double[] baseline = new double[vocabulary], own = new double[vocabulary];
        List<(int Start, double[] Divergence, int[] Same)> buckets = [];
        foreach (int i in Enumerable.Range(0, count)) Feed(i, writers[i].Next([.. first]));

        for (int step = 0; step < steps; step++)
        {
            cancellation.ThrowIfCancellationRequested();
            if (buckets.Count == 0 || step == 2 * Math.Max(buckets[^1].Start, FirstBucketTokens / 2))
                buckets.Add((step, new double[count], new int[count]));
            model.Decoder.Decode(sequences, tokens, logits);
            Distribution.LogProbabilities(Row(0), baseline);
            int choice = TensorPrimitives.IndexOfMax(Row(0));
            for (int i = 0; i < count; i++)
            {
                Distribution.LogProbabilities(Row(i), own);
                buckets[^1].Divergence[i] += Distribution.Divergence(baseline, own);
                if (TensorPrimitives.IndexOfMax(Row(i)) == choice) buckets[^1].Same[i]++;
            }
            for (int i = 0; i < count; i++) Feed(i, writers[i].Next(Row(i == 0 ? 0 : count + i - 1)));
            report(step + 1);
        }

        return
        [
            .. methods.Select((method, i) => new DriftMeasurement(
                method.Name, method.Fingerprint, PrefixTokens + steps, index,
                [.. buckets.Select((bucket, b) => new DriftBucket(
                    bucket.Start, (b + 1 < buckets.Count ? buckets[b + 1].Start : steps) - bucket.Start, bucket.Divergence[i], bucket.Same[i]))],
                writers[i].RepeatedShare)
            {
                Bytes = CacheBytes.Of(sequences[i], model.Decoder.Shape),
            }),
        ];

        Span<float> Row(int row) => logits.AsSpan(row * vocabulary, vocabulary);
        void Feed(int method, int token)
        {
            if (method == 0) tokens.AsSpan(0, count).Fill(token);
            else tokens[count + method - 1] = token;
        }
    }

    /// <summary>One continuation. It never ends by itself.</summary>
    private sealed class Writer(IReadOnlyList<int> endTokens, int seed)
    {
        private readonly TokenSampler _sampler = new(new SamplingOptions { Temperature = 1, TopP = 0.95f, Seed = seed });
        private readonly HashSet<(int, int, int, int)> _grams = [];
        private readonly Queue<int> _last = [];
        private int _written;

        public double RepeatedShare => _written == 0 ? 0 : 1 - ((double)_grams.Count / _written);

        public int Next(Span<float> logits)
        {
            foreach (int end in endTokens) logits[end] = float.NegativeInfinity;
            int token = _sampler.Sample(logits);
            _last.Enqueue(token);
            if (_last.Count > GramLength) _last.Dequeue();
            if (_last.ToArray() is [int a, int b, int c, int d])
            {
                _grams.Add((a, b, c, d));
                _written++;
            }
            return token;
        }
    }
}
