using System.Buffers.Binary;
using System.Text.Json;

namespace KvPrune.ModelBuilder.Tests.HuggingFace;

/// <summary>Writes small safetensors files, right ones and, through <see cref="WriteRaw"/>, wrong ones.</summary>
internal static class SafetensorsWriter
{
    public static void Write(string path, string dtype, IEnumerable<(string Name, int[] Shape, float[] Values)> tensors)
    {
        var header = new Dictionary<string, object> { ["__metadata__"] = new { format = "pt" } };
        using var data = new MemoryStream();
        foreach (var (name, shape, values) in tensors)
        {
            var start = data.Length;
            foreach (var value in values)
                data.Write(Encode(dtype, value));
            header[name] = new { dtype, shape, data_offsets = new[] { start, data.Length } };
        }

        WriteRaw(path, JsonSerializer.Serialize(header), data.ToArray());
    }

    public static void WriteRaw(string path, string header, byte[] data, ulong? headerLength = null)
    {
        var json = System.Text.Encoding.UTF8.GetBytes(header);
        var prefix = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(prefix, headerLength ?? (ulong)json.Length);
        File.WriteAllBytes(path, [.. prefix, .. json, .. data]);
    }

    /// <summary>The nearest value that the type can hold (bf16 by cutting, as a checkpoint may).</summary>
    public static float Round(string dtype, float value) => dtype switch
    {
        "F16" => (float)(Half)value,
        "BF16" => BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(value) & 0xFFFF0000),
        _ => value,
    };

    private static byte[] Encode(string dtype, float value) => dtype switch
    {
        "F16" => BitConverter.GetBytes((Half)value),
        "BF16" => BitConverter.GetBytes((ushort)(BitConverter.SingleToUInt32Bits(value) >> 16)),
        _ => BitConverter.GetBytes(value),
    };
}
