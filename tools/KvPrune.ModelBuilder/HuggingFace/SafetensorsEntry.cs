using System.Text.Json;

namespace KvPrune.ModelBuilder.HuggingFace;

/// <summary>One tensor of a safetensors header; offsets count bytes from the start of the data section.</summary>
internal sealed record SafetensorsEntry(string DType, IReadOnlyList<long> Shape, long Begin, long End)
{
    public long Length => End - Begin;

    /// <summary>Bytes of one element; 0 for a type that the format does not define.</summary>
    public static int SizeOf(string dtype) => dtype switch
    {
        "F64" or "I64" or "U64" => 8,
        "F32" or "I32" or "U32" => 4,
        "F16" or "BF16" or "I16" or "U16" => 2,
        "F8_E4M3" or "F8_E5M2" or "I8" or "U8" or "BOOL" => 1,
        _ => 0,
    };

    public static SafetensorsEntry Parse(string path, string name, JsonElement json)
    {
        ModelSourceException Broken(string problem) => new(path, name, problem);

        if (json.ValueKind != JsonValueKind.Object
            || !json.TryGetProperty("dtype", out var dtypeJson) || dtypeJson.ValueKind != JsonValueKind.String
            || !json.TryGetProperty("shape", out var shapeJson) || shapeJson.ValueKind != JsonValueKind.Array
            || !json.TryGetProperty("data_offsets", out var offsetsJson) || offsetsJson.ValueKind != JsonValueKind.Array)
        {
            throw Broken("the entry lacks dtype, shape or data_offsets.");
        }

        var dtype = dtypeJson.GetString()!;
        var size = SizeOf(dtype);
        if (size == 0)
            throw Broken($"the type {dtype} is unknown.");
        var shape = Numbers(shapeJson, "shape");
        var offsets = Numbers(offsetsJson, "data_offsets");
        if (offsets.Length != 2 || offsets[0] > offsets[1])
            throw Broken("data_offsets is not a pair of ascending offsets.");

        long bytes = size;
        try
        {
            foreach (var dimension in shape)
                bytes = checked(bytes * dimension);
        }
        catch (OverflowException)
        {
            throw Broken($"the shape [{string.Join(", ", shape)}] has too many elements.");
        }

        if (bytes != offsets[1] - offsets[0])
        {
            throw Broken(
                $"{dtype} of shape [{string.Join(", ", shape)}] takes {bytes} bytes, data_offsets spans {offsets[1] - offsets[0]}.");
        }

        return new SafetensorsEntry(dtype, shape, offsets[0], offsets[1]);

        long[] Numbers(JsonElement array, string what)
        {
            var numbers = new long[array.GetArrayLength()];
            for (var i = 0; i < numbers.Length; i++)
            {
                if (array[i].ValueKind != JsonValueKind.Number || !array[i].TryGetInt64(out numbers[i]) || numbers[i] < 0)
                    throw Broken($"{what} holds {array[i]}, which is not a number of at least 0.");
            }

            return numbers;
        }
    }
}
