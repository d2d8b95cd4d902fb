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

    /// <summary>Against softmax(q·Kᵀ/√D)·V in double precision over the very rows that the cache holds, pruned ones included.</summary>
    /// <exception cref="InvalidOperationException">The output is off; names the format.</exception>
    public static void AgainstRows(string format, PrunedAttention contestant, AttentionInputs inputs)
    {
        var shape = inputs.Shape;
        var group = shape.QueryHeads / shape.KvHeads;
        var past = inputs.Tokens - 1;
        var keys = new float[inputs.Tokens * shape.HeadSize];
        var values = new float[keys.Length];
        var expected = new double[shape.QueryWidth];
        for (var kvHead = 0; kvHead < shape.KvHeads; kvHead++)
        {
            contestant.ReadRows(kvHead, keys, values);
            var newRow = (past * shape.KvWidth) + (kvHead * shape.HeadSize);
            inputs.Keys.AsSpan(newRow, shape.HeadSize).CopyTo(keys.AsSpan(past * shape.HeadSize));
            inputs.Values.AsSpan(newRow, shape.HeadSize).CopyTo(values.AsSpan(past * shape.HeadSize));
            for (var head = kvHead * group; head < (kvHead + 1) * group; head++)
            {
                var query = inputs.Queries.AsSpan((past * shape.QueryWidth) + (head * shape.HeadSize), shape.HeadSize);
                Attend(query, keys, values, expected.AsSpan(head * shape.HeadSize, shape.HeadSize));
            }
        }

        Compare(format, contestant.Output.Span, expected);
    }

    /// <summary>Against the stock operator; only for formats that keep every entry, and more than 4 bits of it.</summary>
    /// <exception cref="InvalidOperationException">The output is off; names the format.</exception>
    public static void AgainstStock(string format, IContestant contestant, IContestant stock) =>
        Compare(format, contestant.Output.Span, Array.ConvertAll(stock.Output.ToArray(), x => (double)x));

    public static bool IsNearStock(PruningPolicy policy) =>
        policy is { KeyChannelSparsity: 0, KeySparsity: 0, ValueSparsity: 0 }
        && policy.KeyStorage != KvStorage.Int4 && policy.ValueStorage != KvStorage.Int4;

    private static void Attend(ReadOnlySpan<float> query, float[] keys, float[] values, Span<double> output)
    {
        var size = query.Length;
        var weights = new double[keys.Length / size];
        for (var token = 0; token < weights.Length; token++)
        {
            for (var channel = 0; channel < size; channel++)
                weights[token] += (double)query[channel] * keys[(token * size) + channel];
            weights[token] /= Math.Sqrt(size);
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
