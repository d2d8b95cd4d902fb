namespace KvPrune.OnnxOps.Rewriting.Projections;

/// <summary>
/// The weight of com.microsoft.MatMulNBits: rows of outputs, cut into blocks of <paramref name="blockSize"/> inputs with a scale
/// and a zero point each; numbers of <paramref name="bits"/> bits, the first in a byte's lowest ones.
/// </summary>
internal sealed class BlockQuantizedWeight(
    TensorValues packed, TensorValues scales, TensorValues? zeroPoints, int bits, int blockSize) : ProjectionWeight
{
    private int Blocks => (Inputs + blockSize - 1) / blockSize;

    private int BlockBytes => blockSize * bits / 8;

    // Zero points fill whole bytes in every row.
    private int ZeroPointBytes => ((Blocks * bits) + 7) / 8;

    /// <exception cref="ModelRewriteException">A tensor has another size than the node's attributes make.</exception>
    public void Check()
    {
        Require(packed, packed.Bytes, (long)Outputs * Blocks * BlockBytes, "bytes");
        Require(scales, scales.Count, (long)Outputs * Blocks, "scales");
        if (zeroPoints is { IsReal: true })
            Require(zeroPoints, zeroPoints.Count, (long)Outputs * Blocks, "zero points");
        else if (zeroPoints is not null)
            Require(zeroPoints, zeroPoints.Bytes, (long)Outputs * ZeroPointBytes, "bytes");
        if (!scales.IsReal)
            throw scales.Refused($"holds scales of the type {scales.Type}, which is not supported");
    }

    public override void ReadRows(int first, int count, Span<float> rows)
    {
        var numbers = new byte[count * Blocks * BlockBytes];
        packed.Read((long)first * Blocks * BlockBytes, numbers);
        var factors = new float[count * Blocks];
        scales.Read((long)first * Blocks, factors);
        var zeros = ZeroPoints(first, count);
        for (var row = 0; row < count; row++)
        {
            for (var block = 0; block < Blocks; block++)
            {
                var index = (row * Blocks) + block;
                var start = block * blockSize;
                var target = rows.Slice((row * Inputs) + start, Math.Min(blockSize, Inputs - start));
                var source = numbers.AsSpan(index * BlockBytes, BlockBytes);
                for (var i = 0; i < target.Length; i++)
                    target[i] = factors[index] * (Number(source, i) - zeros[index]);
            }
        }
    }

    public override void Dispose()
    {
        packed.Dispose();
        scales.Dispose();
        zeroPoints?.Dispose();
    }

    private float[] ZeroPoints(int first, int count)
    {
        var zeros = new float[count * Blocks];
        if (zeroPoints is null)
        {
            zeros.AsSpan().Fill(1 << (bits - 1));
        }
        else if (zeroPoints.IsReal)
        {
            zeroPoints.Read((long)first * Blocks, zeros);
        }
        else
        {
            var numbers = new byte[count * ZeroPointBytes];
            zeroPoints.Read((long)first * ZeroPointBytes, numbers);
            for (var i = 0; i < zeros.Length; i++)
                zeros[i] = Number(numbers.AsSpan(i / Blocks * ZeroPointBytes, ZeroPointBytes), i % Blocks);
        }

        return zeros;
    }

    private int Number(ReadOnlySpan<byte> numbers, int index) =>
        (numbers[index * bits / 8] >> (index * bits % 8)) & ((1 << bits) - 1);

    private static void Require(TensorValues tensor, long found, long needed, string what)
    {
        if (found != needed)
            throw tensor.Refused($"has {found} {what}, its node's attributes make {needed}");
    }
}
