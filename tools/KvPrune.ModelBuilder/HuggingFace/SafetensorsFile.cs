using System.Buffers.Binary;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Text.Json;
using Microsoft.Win32.SafeHandles;

namespace KvPrune.ModelBuilder.HuggingFace;

/// <summary>
/// A safetensors file: 8 bytes header length, a JSON header, the data of all tensors without gaps. The header is checked as a
/// whole when the file is opened; tensors are read on demand.
/// </summary>
internal sealed class SafetensorsFile : IDisposable
{
    // The format's own limit; keeps a damaged length from allocating the machine's memory.
    private const long LongestHeader = 100_000_000;
    private const int BlockBytes = 1 << 20;

    private readonly SafeFileHandle _handle;
    private readonly long _dataStart;
    private readonly Dictionary<string, SafetensorsEntry> _entries;

    private SafetensorsFile(string path, SafeFileHandle handle, long dataStart, Dictionary<string, SafetensorsEntry> entries)
    {
        Path = path;
        _handle = handle;
        _dataStart = dataStart;
        _entries = entries;
    }

    public string Path { get; }

    public IReadOnlyDictionary<string, SafetensorsEntry> Entries => _entries;

    /// <summary>Opens the file and checks its header.</summary>
    /// <exception cref="ModelSourceException">The file is missing, cut short or damaged.</exception>
    public static SafetensorsFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (!System.IO.File.Exists(path))
            throw new ModelSourceException(path, null, "the file does not exist.");

        var handle = System.IO.File.OpenHandle(path, options: FileOptions.RandomAccess);
        try
        {
            var length = RandomAccess.GetLength(handle);
            if (length < 8)
                throw new ModelSourceException(path, null, $"{length} bytes are too few for a safetensors file.");
            Span<byte> prefix = stackalloc byte[8];
            ReadExactly(handle, prefix, 0, path, null);
            var headerLength = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
            if (headerLength > LongestHeader || (long)headerLength > length - 8)
                throw new ModelSourceException(path, null, $"the header claims {headerLength} bytes; the file has {length}.");

            var header = new byte[headerLength];
            ReadExactly(handle, header, 8, path, null);
            var dataStart = 8 + (long)headerLength;
            return new SafetensorsFile(path, handle, dataStart, ParseHeader(path, header, length - dataStart));
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>Reads elements of a tensor as fp32 (from F32, F16 or BF16), from element <paramref name="start"/> on.</summary>
    /// <exception cref="ModelSourceException">The tensor is missing, has another type or fewer elements.</exception>
    public void ReadFloats(string name, long start, Span<float> values)
    {
        if (!_entries.TryGetValue(name, out var entry))
            throw new ModelSourceException(Path, name, "the file holds no such tensor.");
        if (entry.DType is not ("F32" or "F16" or "BF16"))
            throw new ModelSourceException(Path, name, $"the type {entry.DType} is not one of F32, F16 and BF16.");

        var size = SafetensorsEntry.SizeOf(entry.DType);
        if (start < 0 || start > (entry.Length / size) - values.Length)
        {
            throw new ModelSourceException(
                Path, name, $"the tensor has {entry.Length / size} elements, not {values.Length} from element {start} on.");
        }

        var offset = _dataStart + entry.Begin + (start * size);
        var block = new byte[Math.Min(BlockBytes, Math.Max((long)values.Length * size, 1))];
        while (!values.IsEmpty)
        {
            var bytes = block.AsSpan(0, (int)Math.Min(block.Length, (long)values.Length * size));
            ReadExactly(_handle, bytes, offset, Path, name);
            Widen(entry.DType, bytes, values[..(bytes.Length / size)]);
            offset += bytes.Length;
            values = values[(bytes.Length / size)..];
        }
    }

    public void Dispose() => _handle.Dispose();

    private static void Widen(string dtype, ReadOnlySpan<byte> source, Span<float> target)
    {
        switch (dtype)
        {
            case "F32":
                MemoryMarshal.Cast<byte, float>(source).CopyTo(target);
                break;
            case "F16":
                TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<byte, Half>(source), target);
                break;
            default:
                // bf16 is the upper half of an fp32 number
                var upper = MemoryMarshal.Cast<byte, ushort>(source);
                for (var i = 0; i < target.Length; i++)
                    target[i] = BitConverter.Int32BitsToSingle(upper[i] << 16);
                break;
        }
    }

    private static Dictionary<string, SafetensorsEntry> ParseHeader(string path, byte[] header, long dataLength)
    {
        var entries = new Dictionary<string, SafetensorsEntry>(StringComparer.Ordinal);
        try
        {
            using var json = JsonDocument.Parse(header, new JsonDocumentOptions { AllowDuplicateProperties = false });
            if (json.RootElement.ValueKind != JsonValueKind.Object)
                throw new ModelSourceException(path, null, "the header is not a JSON object.");
            foreach (var property in json.RootElement.EnumerateObject())
            {
                if (property.Name != "__metadata__")
                    entries.Add(property.Name, SafetensorsEntry.Parse(path, property.Name, property.Value));
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new ModelSourceException(path, null, $"the header is not valid JSON: {e.Message}", e);
        }

        // The format demands that the tensors fill the data section exactly, in any order.
        long end = 0;
        foreach (var (name, entry) in entries.OrderBy(e => e.Value.Begin).ThenBy(e => e.Value.End))
        {
            if (entry.Begin != end)
            {
                throw new ModelSourceException(path, name, entry.Begin < end
                    ? $"its data at {entry.Begin} overlaps the tensor before it, which ends at {end}."
                    : $"its data begins at {entry.Begin}, after a gap behind {end}.");
            }

            end = entry.End;
            if (end > dataLength)
            {
                throw new ModelSourceException(
                    path, name, $"its data ends at byte {end}, but the file holds {dataLength} bytes of data; it is cut short.");
            }
        }

        if (end != dataLength)
            throw new ModelSourceException(path, null, $"{dataLength - end} bytes behind the last tensor belong to none.");
        return entries;
    }

    private static void ReadExactly(SafeFileHandle handle, Span<byte> target, long offset, string path, string? entry)
    {
        while (!target.IsEmpty)
        {
            var read = RandomAccess.Read(handle, target, offset);
            if (read == 0)
                throw new ModelSourceException(path, entry, $"the file ends at byte {offset}; it was cut short while being read.");
            target = target[read..];
            offset += read;
        }
    }
}
