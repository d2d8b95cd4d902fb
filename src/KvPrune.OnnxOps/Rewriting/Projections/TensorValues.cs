using System.Runtime.InteropServices;
using KvPrune.OnnxOps.Onnx;
using Microsoft.Win32.SafeHandles;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Rewriting.Projections;

/// <summary>The values of a constant tensor, in the model or in a file beside it, a stretch at a time.</summary>
internal sealed class TensorValues : IDisposable
{
    private readonly ReadOnlyMemory<byte> _inline;
    private readonly SafeFileHandle? _file;
    private readonly long _offset;

    public TensorValues(TensorProto tensor, string folder)
    {
        Name = tensor.Name;
        Type = (DataType)tensor.DataType;
        Bytes = TensorBytes.Of(tensor);
        Count = tensor.Dims.Aggregate(1L, (product, dim) => product * dim);
        if (tensor.DataLocation == DataLocation.External)
        {
            _offset = ExternalWeights.Number(tensor, "offset");
            _file = Open(Path.Combine(folder, ExternalWeights.Location(tensor)));
            return;
        }

        _inline = tensor.RawData.Length > 0 ? tensor.RawData.Memory : Unpacked(tensor);
        if (_inline.Length < Bytes)
            throw Refused($"has {_inline.Length} bytes of values, its dimensions and type make {Bytes}");
    }

    public string Name { get; }

    public DataType Type { get; }

    /// <summary>Entries.</summary>
    public long Count { get; }

    /// <summary>Size of all entries; those of less than a byte share bytes.</summary>
    public long Bytes { get; }

    public bool IsReal => Type is DataType.Float or DataType.Float16 or DataType.Bfloat16;

    public ModelRewriteException Refused(string reason) => new($"Tensor '{Name}' {reason}.");

    /// <summary>Bytes from <paramref name="first"/> on.</summary>
    public void Read(long first, Span<byte> bytes)
    {
        if (_file is null)
        {
            _inline.Span.Slice((int)first, bytes.Length).CopyTo(bytes);
            return;
        }

        try
        {
            for (var read = 0; read < bytes.Length;)
            {
                var more = RandomAccess.Read(_file, bytes[read..], _offset + first + read);
                if (more == 0)
                    throw Refused("lies in a file that was cut short");
                read += more;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(e);
        }
    }

    /// <summary>Entries from <paramref name="first"/> on of a tensor of real numbers.</summary>
    public void Read(long first, Span<float> values)
    {
        if (Type == DataType.Float)
        {
            Read(first * sizeof(float), MemoryMarshal.AsBytes(values));
            return;
        }

        var bits = new ushort[values.Length];
        Read(first * sizeof(ushort), MemoryMarshal.AsBytes(bits.AsSpan()));
        for (var i = 0; i < bits.Length; i++)
        {
            values[i] = Type == DataType.Float16
                ? (float)BitConverter.UInt16BitsToHalf(bits[i])
                : BitConverter.UInt32BitsToSingle((uint)bits[i] << 16);
        }
    }

    public void Dispose() => _file?.Dispose();

    // Values in fields of their own: floats, and what is smaller in one int32 each.
    private byte[] Unpacked(TensorProto tensor)
    {
        if (Type == DataType.Float)
            return MemoryMarshal.AsBytes(tensor.FloatData.ToArray().AsSpan()).ToArray();
        return Type is DataType.Float16 or DataType.Bfloat16
            ? MemoryMarshal.AsBytes(tensor.Int32Data.Select(bits => (ushort)bits).ToArray().AsSpan()).ToArray()
            : [.. tensor.Int32Data.Select(bits => (byte)bits)];
    }

    private SafeFileHandle Open(string path)
    {
        try
        {
            return File.OpenHandle(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(e);
        }
    }

    private ModelRewriteException Unreadable(Exception e) => new($"Tensor '{Name}' cannot be read: {e.Message}", e);
}
