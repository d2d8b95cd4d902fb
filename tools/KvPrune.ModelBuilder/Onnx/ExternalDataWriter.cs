using System.Globalization;
using KvPrune.OnnxOps.Onnx;
using Microsoft.Win32.SafeHandles;
using DataType = KvPrune.OnnxOps.Onnx.TensorProto.Types.DataType;

namespace KvPrune.ModelBuilder.Onnx;

/// <summary>
/// Appends tensors to the model's external data file, each at an offset that can be memory-mapped, and passes over those that the
/// journal has.
/// </summary>
internal sealed class ExternalDataWriter : IDisposable
{
    // The page size of every platform that ONNX Runtime maps files on, or a divisor of it.
    private const int Alignment = 4_096;

    private readonly string _fileName;
    private readonly SafeFileHandle _handle;
    private readonly BuildJournal _journal;
    private readonly long _checkpointBytes;
    private readonly List<(string Name, long Offset, long Length)> _uncommitted = [];
    private long _end;

    /// <summary>Opens the file and cuts off what the journal does not know.</summary>
    /// <param name="path">The file.</param>
    /// <param name="journal">What the file holds already; gets a new entry for every tensor.</param>
    /// <param name="checkpointBytes">The journal is brought up to date when this much has been written: a build that is cut off
    /// loses no more.</param>
    public ExternalDataWriter(string path, BuildJournal journal, long checkpointBytes)
    {
        (_fileName, _journal, _checkpointBytes) = (Path.GetFileName(path), journal, checkpointBytes);
        _end = journal.Written.Values.Select(w => w.Offset + w.Length).DefaultIfEmpty().Max();
        _handle = File.OpenHandle(path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.None);
        if (RandomAccess.GetLength(_handle) < _end)
        {
            _handle.Dispose();
            throw new IOException($"{path} is shorter than its journal says; remove the folder to start again.");
        }

        RandomAccess.SetLength(_handle, _end);
    }

    /// <summary>Appends tensors that are computed together.</summary>
    /// <param name="layouts">Name, type and shape of each.</param>
    /// <param name="write">Writes all their bytes, given the offset of each; not called when the journal has them all.</param>
    public TensorProto[] Append(ReadOnlySpan<(string Name, DataType Type, long[] Shape)> layouts, Action<long[]> write)
    {
        var offsets = new long[layouts.Length];
        var tensors = new TensorProto[layouts.Length];
        var done = true;
        foreach (var (name, _, _) in layouts)
            done &= _journal.Written.ContainsKey(name);
        for (var i = 0; i < layouts.Length; i++)
        {
            var (name, type, shape) = layouts[i];
            var length = shape.Aggregate((long)SizeOf(type), (product, dimension) => product * dimension);
            if (done)
                (offsets[i], _) = _journal.Written[name];
            else
            {
                offsets[i] = (_end + Alignment - 1) / Alignment * Alignment;
                _end = offsets[i] + length;
                _uncommitted.Add((name, offsets[i], length));
            }

            tensors[i] = Describe(name, type, shape, offsets[i], length);
        }

        if (done)
            return tensors;
        write(offsets);
        if (_end - _uncommitted[0].Offset >= _checkpointBytes)
            Commit();
        return tensors;
    }

    /// <summary>Writes bytes of a tensor that is being appended.</summary>
    public void Write(long offset, ReadOnlySpan<byte> bytes) => RandomAccess.Write(_handle, bytes, offset);

    public void Dispose() => _handle.Dispose();

    // The data first: the journal must not promise what a power cut could take back.
    private void Commit()
    {
        RandomAccess.FlushToDisk(_handle);
        _journal.Add(_uncommitted);
        _uncommitted.Clear();
    }

    private static int SizeOf(DataType type) => type switch
    {
        DataType.Float => 4,
        DataType.Float16 => 2,
        DataType.Uint8 => 1,
        _ => throw new ArgumentException($"Tensors of type {type} are not stored outside the graph."),
    };

    private TensorProto Describe(string name, DataType type, long[] shape, long offset, long length)
    {
        var tensor = new TensorProto { Name = name, DataType = (int)type, DataLocation = TensorProto.Types.DataLocation.External };
        tensor.Dims.AddRange(shape);
        foreach (var (key, value) in ((string, string)[])
        [
            ("location", _fileName),
            ("offset", offset.ToString(CultureInfo.InvariantCulture)),
            ("length", length.ToString(CultureInfo.InvariantCulture)),
        ])
        {
            tensor.ExternalData.Add(new StringStringEntryProto { Key = key, Value = value });
        }

        return tensor;
    }
}
