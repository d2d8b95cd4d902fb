using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Rewriting.Projections;

/// <summary>
/// A projection behind a DequantizeLinear node: 4- or 8-bit numbers with one scale and zero point for all, for each row, for
/// each column, or for blocks of rows or columns.
/// </summary>
internal sealed class DequantizedWeight : ProjectionWeight
{
    private readonly TensorValues _numbers;
    private readonly float[] _scales;
    private readonly int[]? _zeroPoints;

    /// <param name="numbers">The integers; disposed with this.</param>
    /// <param name="scales">Read at once.</param>
    /// <param name="zeroPoints">Read at once; null: 0.</param>
    public DequantizedWeight(TensorValues numbers, TensorValues scales, TensorValues? zeroPoints)
    {
        _numbers = numbers;
        if (!scales.IsReal)
            throw scales.Refused($"holds scales of the type {scales.Type}, which is not supported");
        _scales = new float[scales.Count];
        scales.Read(0, _scales);
        if (zeroPoints is null)
            return;
        if (zeroPoints.Type != numbers.Type || zeroPoints.Count != scales.Count)
            throw zeroPoints.Refused($"holds zero points that do not go with '{scales.Name}' and '{numbers.Name}'");
        _zeroPoints = Integers(zeroPoints, 0, (int)zeroPoints.Count);
    }

    /// <summary>Scales [ScaleRows, ScaleColumns], each for a block of RowBlock rows and ColumnBlock columns.</summary>
    public required (int RowBlock, int ColumnBlock, int ScaleColumns) Blocks { get; init; }

    public static bool IsSupported(DataType type) => type is DataType.Int8 or DataType.Uint8 or DataType.Int4 or DataType.Uint4;

    public override void ReadRows(int first, int count, Span<float> rows)
    {
        var integers = Integers(_numbers, (long)first * RowLength, count * RowLength);
        for (var row = 0; row < count; row++)
        {
            var scaleRow = (first + row) / Blocks.RowBlock * Blocks.ScaleColumns;
            for (var column = 0; column < RowLength; column++)
            {
                var scale = scaleRow + (column / Blocks.ColumnBlock);
                var i = (row * RowLength) + column;
                rows[i] = _scales[scale] * (integers[i] - (_zeroPoints?[scale] ?? 0));
            }
        }
    }

    public override void Dispose() => _numbers.Dispose();

    private static int[] Integers(TensorValues tensor, long first, int count)
    {
        var half = tensor.Type is DataType.Int4 or DataType.Uint4;
        var start = half ? first / 2 : first;
        var bytes = new byte[(half ? (first + count + 1) / 2 : first + count) - start];
        tensor.Read(start, bytes);
        var integers = new int[count];
        for (var i = 0; i < count; i++)
        {
            var at = first + i;
            var number = half ? (bytes[(at / 2) - start] >> (int)(at % 2 * 4)) & 15 : bytes[i];
            integers[i] = tensor.Type switch
            {
                DataType.Int8 => (sbyte)number,
                DataType.Int4 => number >= 8 ? number - 16 : number,
                _ => number,
            };
        }

        return integers;
    }
}
