using System.Runtime.InteropServices;
using KvPrune.OnnxOps.Onnx;

namespace KvPrune.ModelBuilder.Onnx;

/// <summary>Appends tensors to the model's external data file, each at an offset that can be memory-mapped.</summary>
internal sealed class ExternalDataWriter : IDisposable
{
    // The page size of every platform that ONNX Runtime maps files on, or a divisor of it.
    private const int Alignment = 4_096;
    private const int TileColumns = 64;
    private const int PieceElements = 1 << 20;

    private readonly string _fileName;
    private readonly FileStream _stream;
    private readonly CancellationToken _cancellation;

    /// <summary>Creates the file. The token stops a write within a tensor: the largest take seconds.</summary>
    public ExternalDataWriter(string path, CancellationToken cancellation)
    {
        _cancellation = cancellation;
        _fileName = Path.GetFileName(path);
        _stream = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 1 << 20);
    }

    /// <summary>Writes a tensor as it is.</summary>
    public TensorProto Append<T>(string name, TensorProto.Types.DataType type, ReadOnlySpan<T> values, params ReadOnlySpan<long> shape)
        where T : unmanaged
    {
        var start = Align();
        // In pieces: the bytes of one tensor can be more than a span holds.
        for (; !values.IsEmpty; values = values[Math.Min(PieceElements, values.Length)..])
        {
            _cancellation.ThrowIfCancellationRequested();
            _stream.Write(MemoryMarshal.AsBytes(values[..Math.Min(PieceElements, values.Length)]));
        }

        return Describe(name, type, start, shape);
    }

    /// <summary>Writes the transpose of a row-major [rows, columns] matrix, a few output rows at a time.</summary>
    public TensorProto AppendTransposed(string name, ReadOnlySpan<float> matrix, int rows, int columns)
    {
        var start = Align();
        var tile = new float[Math.Min(TileColumns, columns) * rows];
        for (var first = 0; first < columns; first += TileColumns)
        {
            _cancellation.ThrowIfCancellationRequested();
            var width = Math.Min(TileColumns, columns - first);
            for (var row = 0; row < rows; row++)
            {
                var source = matrix.Slice((row * columns) + first, width);
                for (var i = 0; i < width; i++)
                    tile[(i * rows) + row] = source[i];
            }

            _stream.Write(MemoryMarshal.AsBytes(tile.AsSpan(0, width * rows)));
        }

        return Describe(name, TensorProto.Types.DataType.Float, start, [columns, rows]);
    }

    public void Dispose() => _stream.Dispose();

    private long Align()
    {
        var gap = (int)((Alignment - (_stream.Position % Alignment)) % Alignment);
        _stream.Write(new byte[gap]);
        return _stream.Position;
    }

    private TensorProto Describe(string name, TensorProto.Types.DataType type, long start, ReadOnlySpan<long> shape)
    {
        var tensor = new TensorProto { Name = name, DataType = (int)type, DataLocation = TensorProto.Types.DataLocation.External };
        foreach (var dimension in shape)
            tensor.Dims.Add(dimension);
        foreach (var (key, value) in ((string, string)[])
        [
            ("location", _fileName),
            ("offset", start.ToString(System.Globalization.CultureInfo.InvariantCulture)),
            ("length", (_stream.Position - start).ToString(System.Globalization.CultureInfo.InvariantCulture)),
        ])
        {
            tensor.ExternalData.Add(new StringStringEntryProto { Key = key, Value = value });
        }

        return tensor;
    }
}
