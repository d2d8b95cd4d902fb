using KvPrune.OnnxOps;

namespace KvPrune.Benchmarks.Attention;

/// <summary>Checks an output before its speed is measured: a fast wrong answer is worth nothing.</summary>
internal static class AttentionCheck
{
    /// <summary>
    /// Largest accepted difference, relative to the largest output. Bfloat16 arithmetic keeps 8 bits, 8-bit integers 7;
    /// over thousands of tokens the roundings average out.
    /// </summary>
    public const double Tolerance = 0.02;

    /// <summary>
    /// Against softmax(q·Kᵀ/√D)·V in double precision over the very rows that the cache holds, pruned ones included. Of a batch,
    /// whose sequences hold equal rows, the first and last outputs.
    /// </summary>
    /// <exception cref="InvalidOperationException">The output is off; names the format.</exception>
    public static void AgainstRows(string format, PrunedAttention contestant, AttentionInputs inputs)
    {
        var shape = inputs.Shape;
        var group = shape.QueryHeads / shape.KvHeads;
        var keys = new float[inputs.Tokens * shape.HeadSize];
        var values = new float[keys.Length];
        int[] tokens = [.. new[] { 0, inputs.NewTokens / 2, inputs.NewTokens - 1 }.Distinct()];
        var expected = tokens.Select(_ => new double[shape.QueryWidth]).ToArray();
        for (var kvHead = 0; kvHead < shape.KvHeads; kvHead++)
        {
            var past = inputs.Past * shape.HeadSize;
            if (past > 0)
                contestant.ReadRows(kvHead, keys.AsSpan(0, past), values.AsSpan(0, past));
            var kept = Enumerable.Repeat(true, inputs.Tokens).ToArray();
            contestant.ReadKept(kvHead).CopyTo(kept, 0);
            for (var token = inputs.Past; token < inputs.Tokens; token++)
            {
                var row = (token * shape.KvWidth) + (kvHead * shape.HeadSize);
                inputs.Keys.AsSpan(row, shape.HeadSize).CopyTo(keys.AsSpan(token * shape.HeadSize));
                inputs.Values.AsSpan(row, shape.HeadSize).CopyTo(values.AsSpan(token * shape.HeadSize));
            }

            for (var head = kvHead * group; head < (kvHead + 1) * group; head++)
            {
                for (var i = 0; i < tokens.Length; i++)
                {
                    var position = inputs.Past + tokens[i];
                    var query = inputs.QueryRows(position, 1).Span.Slice(head * shape.HeadSize, shape.HeadSize);
                    var seen = (position + 1) * shape.HeadSize;
                    Attend(query, keys.AsSpan(0, seen), values.AsSpan(0, seen), kept, inputs.Softcap, expected[i].AsSpan(head * shape.HeadSize, shape.HeadSize));
                }
            }
        }

        for (var i = 0; i < tokens.Length; i++)
        {
            Compare(format, contestant.Output.Span.Slice(tokens[i] * shape.QueryWidth, shape.QueryWidth), expected[i]);
            if (inputs.Batch > 1)
                Compare(format, contestant.Output.Span[^shape.QueryWidth..], expected[i]);
        }
    }

    /// <summary>Against the stock operator; only for formats that keep every token and entry, and more than 4 bits of it.</summary>
    /// <exception cref="InvalidOperationException">The output is off; names the format.</exception>
    public static void AgainstStock(string format, IContestant contestant, IContestant stock) =>
        Compare(format, contestant.Output.Span, Array.ConvertAll(stock.Output.ToArray(), x => (double)x));

    public static bool IsNearStock(PruningPolicy policy) =>
        policy is { KeyChannelSparsity: 0, KeySparsity: 0, ValueSparsity: 0, Eviction: null, OutputError: null }
        && policy.KeyStorage != KvStorage.Int4 && policy.ValueStorage != KvStorage.Int4;

    private static void Attend(
        ReadOnlySpan<float> query, ReadOnlySpan<float> keys, ReadOnlySpan<float> values, ReadOnlySpan<bool> kept, float softcap, Span<double> output)
    {
        var size = query.Length;
        var weights = new double[keys.Length / size];
        for (var token = 0; token < weights.Length; token++)
        {
            for (var channel = 0; channel < size; channel++)
                weights[token] += (double)query[channel] * keys[(token * size) + channel];
            weights[token] /= Math.Sqrt(size);
            if (softcap > 0)
                weights[token] = softcap * Math.Tanh(weights[token] / softcap);
            if (!kept[token])
                weights[token] = double.NegativeInfinity;
        }

        var largest = weights.Max();
        var sum = 0.0;
        for (var token = 0; token < weights.Length; token++)
        {
            var weight = Math.Exp(weights[token] - largest);
            sum += weight;
            for (var channel = 0; channel < size; channel++)
                output[channel] += weight * values[(token * size) + channel];
        }

        foreach (ref var x in output)
            x /= sum;
    }

    private static void Compare(string format, ReadOnlySpan<float> output, ReadOnlySpan<double> expected)
    {
        double difference = 0, largest = 0;
        for (var i = 0; i < expected.Length; i++)
        {
            // NaN must not pass as "not larger".
            difference = double.IsNaN(output[i]) ? double.PositiveInfinity : Math.Max(difference, Math.Abs(output[i] - expected[i]));
            largest = Math.Max(largest, Math.Abs(expected[i]));
        }

        if (!(difference <= Tolerance * largest))
        {
            throw new InvalidOperationException(
                $"{format}: the output differs from the reference by {difference:g3}, more than {Tolerance:p0} of the largest entry {largest:g3}. Not timed.");
        }
    }
}
