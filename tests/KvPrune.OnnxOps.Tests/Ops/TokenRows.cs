using KvPrune.OnnxOps.Tests.Graphs;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>
/// Random projections of a run of tokens before rotation: Query [Count, query width], Key and Value [Count, KV width].
/// </summary>
internal sealed record TokenRows(AttentionShape Shape, int Count, float[] Query, float[] Key, float[] Value)
{
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
