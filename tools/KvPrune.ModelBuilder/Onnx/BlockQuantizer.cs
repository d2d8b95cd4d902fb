namespace KvPrune.ModelBuilder.Onnx;

/// <summary>Symmetric 4-bit quantization in the layout of <c>com.microsoft.MatMulNBits</c>.</summary>
internal static class BlockQuantizer
{
    private const int ZeroPoint = 8;

    public static int BlocksPerRow(int columns, int blockSize) => (columns + blockSize - 1) / blockSize;

    /// <summary>
    /// Quantizes a row-major [rows, columns] matrix; w ≈ scale · (q − 8), q in 0..15. The last block of a row is padded with zeros.
    /// </summary>
    /// <returns>
    /// Packed [rows, blocks, blockSize / 2], the even element of a pair in the low half of its byte; scales [rows, blocks].
    /// </returns>
    public static (byte[] Packed, float[] Scales) Quantize(ReadOnlySpan<float> matrix, int rows, int columns, int blockSize)
    {
        var blocks = BlocksPerRow(columns, blockSize);
        var packed = new byte[(long)rows * blocks * (blockSize / 2)];
        var scales = new float[(long)rows * blocks];
        for (var row = 0; row < rows; row++)
        {
            for (var block = 0; block < blocks; block++)
            {
                var start = block * blockSize;
                var source = matrix.Slice((row * columns) + start, Math.Min(blockSize, columns - start));
                var index = (row * blocks) + block;
                scales[index] = QuantizeBlock(source, packed.AsSpan(index * (blockSize / 2), blockSize / 2));
            }
        }

        return (packed, scales);
    }

    private static float QuantizeBlock(ReadOnlySpan<float> source, Span<byte> packed)
    {
        // The largest magnitude becomes −8, the end of the range that has one step more.
        var extreme = 0f;
        foreach (var value in source)
        {
            if (MathF.Abs(value) > MathF.Abs(extreme))
                extreme = value;
        }

        var scale = extreme / -ZeroPoint;
        var inverse = scale == 0 ? 0 : 1 / scale;
        for (var i = 0; i < 2 * packed.Length; i++)
        {
            var value = i < source.Length ? source[i] : 0;
            var q = Math.Clamp((int)MathF.Round(value * inverse) + ZeroPoint, 0, 15);
            packed[i / 2] |= (byte)(i % 2 == 0 ? q : q << 4);
        }

        return scale;
    }
}
