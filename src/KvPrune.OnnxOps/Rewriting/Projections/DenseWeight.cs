namespace KvPrune.OnnxOps.Rewriting.Projections;

/// <summary>A projection of float32, float16 or bfloat16 numbers.</summary>
internal sealed class DenseWeight(TensorValues values) : ProjectionWeight
{
    public override void ReadRows(int first, int count, Span<float> rows) =>
        values.Read((long)first * RowLength, rows[..(count * RowLength)]);

    public override void Dispose() => values.Dispose();
}
