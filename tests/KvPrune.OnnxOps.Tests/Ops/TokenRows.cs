using KvPrune.OnnxOps.Tests.Graphs;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>
/// Projections of a run of tokens before rotation: Query [Count, query width], Key and Value [Count, KV width].
/// </summary>
internal sealed record TokenRows(AttentionShape Shape, int Count, float[] Query, float[] Key, float[] Value)
{
    /// <summary>Rows that no model computed.</summary>
    public static TokenRows Random(AttentionShape shape, int count, int seed)
    {
        var random = new Random(seed);
        float[] Rows(int width, bool outliers)
        {
            var rows = new float[count * width];
            for (var i = 0; i < rows.Length; i++)
            {
                // Some channels of real keys are much larger than others, which is what channel pruning lives on.
                var scale = outliers && i % width % 7 == 3 ? 3 : 1;
                var radius = scale * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble()));
                rows[i] = (float)(radius * Math.Cos(2 * Math.PI * random.NextDouble()));
            }

            return rows;
        }

        return new TokenRows(
            shape, count, Rows(shape.QueryWidth, false), Rows(shape.KvWidth, true), Rows(shape.KvWidth, false));
    }

    /// <summary>The graph inputs query, key and value of a batch of equally long rows, with what follows their names.</summary>
    public Dictionary<string, OrtValue> Inputs(int batch, string suffix = "")
    {
        OrtValue Tensor(float[] rows) =>
            OrtValue.CreateTensorValueFromMemory(rows, [batch, Count / batch, rows.Length / Count]);
        if (!Shape.Packed)
            return new() { ["query" + suffix] = Tensor(Query), ["key" + suffix] = Tensor(Key), ["value" + suffix] = Tensor(Value) };
        var packed = new List<float>();
        for (var token = 0; token < Count; token++)
        {
            packed.AddRange(Query.AsSpan(token * Shape.QueryWidth, Shape.QueryWidth));
            packed.AddRange(Key.AsSpan(token * Shape.KvWidth, Shape.KvWidth));
            packed.AddRange(Value.AsSpan(token * Shape.KvWidth, Shape.KvWidth));
        }

        return new() { ["query" + suffix] = Tensor([.. packed]) };
    }

    public TokenRows this[Range range]
    {
        get
        {
            var (offset, count) = range.GetOffsetAndLength(Count);
            float[] Part(float[] rows, int width) => rows[(offset * width)..((offset + count) * width)];
            return new TokenRows(
                Shape, count, Part(Query, Shape.QueryWidth), Part(Key, Shape.KvWidth), Part(Value, Shape.KvWidth));
        }
    }
}
