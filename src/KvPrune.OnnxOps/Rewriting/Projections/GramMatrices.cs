using System.Numerics.Tensors;

namespace KvPrune.OnnxOps.Rewriting.Projections;

/// <summary>Sums WᵀW of the parts that an output projection has for the query heads of a KV head.</summary>
internal static class GramMatrices
{
    // Stored rows of outputs that are turned at once.
    private const int OutputRows = 256;

    /// <summary>[KV heads, head size, head size]</summary>
    public static float[] Of(ProjectionWeight weight, int kvHeads, int headSize)
    {
        var square = headSize * headSize;
        var gram = new float[kvHeads * square];
        var queryHeads = weight.Inputs / headSize;
        Span<float> Matrix(int head) => gram.AsSpan(head / (queryHeads / kvHeads) * square, square);
        if (weight.RowsAreInputs)
        {
            var channels = new float[headSize * weight.Outputs];
            for (var head = 0; head < queryHeads; head++)
            {
                weight.ReadRows(head * headSize, headSize, channels);
                Add(channels, weight.Outputs, headSize, Matrix(head));
            }
        }
        else
        {
            var rows = new float[OutputRows * weight.Inputs];
            var channels = new float[headSize * OutputRows];
            for (var first = 0; first < weight.Outputs; first += OutputRows)
            {
                var count = Math.Min(OutputRows, weight.Outputs - first);
                weight.ReadRows(first, count, rows);
                for (var head = 0; head < queryHeads; head++)
                {
                    Turn(rows, weight.Inputs, head * headSize, count, headSize, channels);
                    Add(channels, count, headSize, Matrix(head));
                }
            }
        }

        Finish(gram, headSize, weight.Factor * weight.Factor);
        return gram;
    }

    // Products of each channel with itself and those before it, below the diagonal.
    private static void Add(ReadOnlySpan<float> channels, int length, int headSize, Span<float> gram)
    {
        for (var i = 0; i < headSize; i++)
        {
            var channel = channels.Slice(i * length, length);
            for (var j = 0; j <= i; j++)
                gram[(i * headSize) + j] += TensorPrimitives.Dot(channel, channels.Slice(j * length, length));
        }
    }

    private static void Turn(ReadOnlySpan<float> rows, int width, int firstColumn, int count, int headSize, Span<float> channels)
    {
        for (var row = 0; row < count; row++)
        {
            var source = rows.Slice((row * width) + firstColumn, headSize);
            for (var channel = 0; channel < headSize; channel++)
                channels[(channel * count) + row] = source[channel];
        }
    }

    // Scales, and mirrors at the diagonal.
    private static void Finish(Span<float> gram, int headSize, float factor)
    {
        for (var start = 0; start < gram.Length; start += headSize * headSize)
        {
            var matrix = gram.Slice(start, headSize * headSize);
            for (var i = 0; i < headSize; i++)
            {
                for (var j = 0; j <= i; j++)
                {
                    matrix[(i * headSize) + j] *= factor;
                    matrix[(j * headSize) + i] = matrix[(i * headSize) + j];
                }
            }
        }
    }
}
