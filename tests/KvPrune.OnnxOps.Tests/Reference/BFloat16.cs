namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>bfloat16: the upper 16 bits of a float32.</summary>
internal static class BFloat16
{
    /// <summary>To nearest, ties to even.</summary>
    public static double Round(double value)
    {
        var bits = BitConverter.SingleToUInt32Bits((float)value);
        var lower = bits & 0xffff;
        var upper = bits >> 16;
        if (lower > 0x8000 || (lower == 0x8000 && (upper & 1) == 1))
            upper++;
        return BitConverter.UInt32BitsToSingle(upper << 16);
    }

    /// <summary>The largest one that is not above a value.</summary>
    public static float RoundDown(float value) => value < 0
        ? -RoundUp(-value)
        : BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(value) & 0xffff0000);

    /// <summary>The smallest one that is not below a positive value.</summary>
    public static float RoundUp(float value)
    {
        var bits = BitConverter.SingleToUInt32Bits(value);
        return BitConverter.UInt32BitsToSingle((bits & 0xffff) == 0 ? bits : ((bits >> 16) + 1) << 16);
    }
}
