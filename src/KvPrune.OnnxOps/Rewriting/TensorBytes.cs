using KvPrune.OnnxOps.Onnx;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>The size of tensors in files.</summary>
internal static class TensorBytes
{
    /// <summary>The bytes that a tensor of these dimensions and this type takes; 0 where its type has no fixed size.</summary>
    /// <exception cref="ModelRewriteException">Its dimensions are negative, or too large for any file.</exception>
    public static long Of(TensorProto tensor)
    {
        try
        {
            long bits = tensor.Dims.Contains(0) ? 0 : Bits(tensor.DataType);
            foreach (var dim in tensor.Dims)
            {
                if (dim < 0)
                    throw Refused(tensor);
                bits = checked(bits * dim);
            }

            return (bits / 8) + (bits % 8 > 0 ? 1 : 0);
        }
        catch (OverflowException)
        {
            throw Refused(tensor);
        }
    }

    // By the numbers of the ONNX file format, TensorProto.DataType.
    private static int Bits(int type) => type switch
    {
        15 => 128, // complex128
        7 or 11 or 13 or 14 => 64, // int64, double, uint64, complex64
        1 or 6 or 12 => 32, // float, int32, uint32
        4 or 5 or 10 or 16 => 16, // uint16, int16, float16, bfloat16
        2 or 3 or 9 or 17 or 18 or 19 or 20 or 24 => 8, // uint8, int8, bool, the float8 types
        21 or 22 or 23 => 4, // uint4, int4, float4e2m1
        25 or 26 => 2, // uint2, int2
        _ => 0,
    };

    private static ModelRewriteException Refused(TensorProto tensor) =>
        new($"Tensor '{tensor.Name}' has the dimensions [{string.Join(", ", tensor.Dims)}], which no file holds.");
}
