namespace KvPrune.ModelBuilder.Onnx;

/// <summary>Symmetric 4-bit quantization in the layout of <c>com.microsoft.MatMulNBits</c>.</summary>
internal static class BlockQuantizer
{
    public const int BlockSize = 32;
    private const int ZeroPoint = 8;

    public static int BlocksPerRow(int columns) => (columns + BlockSize - 1) / BlockSize;

    /// <summary>
    /// Quantizes a row-major [rows, columns] matrix; w ≈ scale · (q − 8), q in 0..15. The last block of a row is padded with zeros.
    /// </summary>
    /// <returns>
    /// Packed [rows, blocks, 16], the even element of a pair in the low half of its byte; scales [rows, blocks].
    /// </returns>
    public static (byte[] Packed, float[] Scales) Quantize(ReadOnlySpan<float> matrix, int rows, int columns)
    {
        var blocks = BlocksPerRow(columns);
        var packed = new byte[(long)rows * blocks * (BlockSize / 2)];
        var scales = new float[(long)rows * blocks];
        for (var row = 0; row < rows; row++)
        {
            for (var block = 0; block < blocks; block++)
            {
                var start = block * BlockSize;
                var source = matrix.Slice((row * columns) + start, Math.Min(BlockSize, columns - start));
                var index = (row * blocks) + block;
                scales[index] = QuantizeBlock(source, packed.AsSpan(index * (BlockSize / 2), BlockSize / 2));
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
        for (var i = 0; i < BlockSize; i++)
        {
            var value = i < source.Length ? source[i] : 0;
            var q = Math.Clamp((int)MathF.Round(value * inverse) + ZeroPoint, 0, 15);
            packed[i / 2] |= (byte)(i % 2 == 0 ? q : q << 4);
        }

        return scale;
    }
}
