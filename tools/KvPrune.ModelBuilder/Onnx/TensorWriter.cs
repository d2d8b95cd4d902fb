using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using KvPrune.OnnxOps.Onnx;
using DataType = KvPrune.OnnxOps.Onnx.TensorProto.Types.DataType;

namespace KvPrune.ModelBuilder.Onnx;

/// <summary>Stores weights in the form that a node wants, a block of rows at a time: no tensor is ever in memory as a whole.</summary>
internal sealed class TensorWriter(
    IWeightSource weights,
    ExternalDataWriter data,
    int blockElements,
    long totalWeights,
    IProgress<BuildProgress>? progress,
    CancellationToken cancellation)
{
    private const int TileColumns = 32;

    public delegate void TableRows(int first, Span<float> rows);

    private float[] _values = [];
    private float[] _turned = [];
    private Half[] _halves = [];
    private long _writtenWeights;

    /// <summary>Stores the rows as they are, each value plus <paramref name="addend"/>.</summary>
    public TensorProto AsIs(string name, DataType type, TensorRows[] rows, float addend = 0)
    {
        var (height, width) = (Height(rows), rows[0].Columns);
        var tensors = data.Append(
            [(name, type, rows[0].Shape.Length == 1 ? [height] : [height, width])],
            offsets =>
            {
                foreach (var (first, count) in Blocks(height, width))
                {
                    var values = Read(rows, first, count);
                    if (addend != 0)
                        TensorPrimitives.Add(values, addend, values);
                    data.Write(offsets[0] + ((long)first * width * SizeOf(type)), Encode(values, type, rows));
                }
            });
        Report(rows);
        return tensors[0];
    }

    /// <summary>Stores the transpose [columns, rows], which MatMul multiplies from the right.</summary>
    public TensorProto Transposed(string name, DataType type, TensorRows[] rows)
    {
        var (height, width) = (Height(rows), rows[0].Columns);
        var tensors = data.Append([(name, type, [width, height])], offsets =>
        {
            foreach (var (first, count) in Blocks(height, width))
            {
                var values = Read(rows, first, count);
                Grow(ref _turned, values.Length);
                Transpose(values, count, width, _turned);
                var bytes = Encode(_turned.AsSpan(0, values.Length), type, rows);
                var size = SizeOf(type);
                // A block is one stretch of every stored row, or all of it when the block has all rows.
                var (pieces, length) = count == height ? (1, bytes.Length) : (width, count * size);
                for (var piece = 0; piece < pieces; piece++)
                    data.Write(offsets[0] + ((((long)piece * height) + first) * size), bytes.Slice(piece * length, length));
            }
        });
        Report(rows);
        return tensors[0];
    }

    /// <summary>Stores the rows in 4 bits; see <see cref="BlockQuantizer"/> for the layouts.</summary>
    public (TensorProto Packed, TensorProto Scales) Quantized(
        string packedName, string scalesName, DataType scaleType, TensorRows[] rows, int blockSize)
    {
        var (height, width) = (Height(rows), rows[0].Columns);
        var blocks = BlockQuantizer.BlocksPerRow(width, blockSize);
        var tensors = data.Append(
            [(packedName, DataType.Uint8, [height, blocks, blockSize / 2]), (scalesName, scaleType, [height, blocks])],
            offsets =>
            {
                foreach (var (first, count) in Blocks(height, width))
                {
                    var (packed, scales) = BlockQuantizer.Quantize(Read(rows, first, count), count, width, blockSize);
                    data.Write(offsets[0] + ((long)first * blocks * (blockSize / 2)), packed);
                    data.Write(offsets[1] + ((long)first * blocks * SizeOf(scaleType)), Encode(scales, scaleType, rows));
                }
            });
        Report(rows);
        return (tensors[0], tensors[1]);
    }

    /// <summary>Stores a table that is no weight of the source; <paramref name="fill"/> computes rows from the one named on.</summary>
    public TensorProto Table(string name, DataType type, int height, int width, TableRows fill) =>
        data.Append([(name, type, [height, width])], offsets =>
        {
            foreach (var (first, count) in Blocks(height, width))
            {
                cancellation.ThrowIfCancellationRequested();
                Grow(ref _values, count * width);
                var values = _values.AsSpan(0, count * width);
                fill(first, values);
                data.Write(offsets[0] + ((long)first * width * SizeOf(type)), Encode(values, type, null));
            }
        })[0];

    /// <summary>The values in the bytes of the type; valid until the next call.</summary>
    public ReadOnlySpan<byte> Encode(Span<float> values, DataType type, TensorRows[]? source)
    {
        if (type == DataType.Float)
            return MemoryMarshal.AsBytes(values);
        Grow(ref _halves, values.Length);
        var halves = _halves.AsSpan(0, values.Length);
        TensorPrimitives.ConvertToHalf(values, halves);
        if (source is not null && !values.IsEmpty && TensorPrimitives.MaxMagnitude<float>(values) > (float)Half.MaxValue)
            throw new ModelSourceException(weights.FileOf(source[0].Tensor), source[0].Tensor, "has a value that is too large for fp16.");
        return MemoryMarshal.AsBytes(halves);
    }

    private Span<float> Read(TensorRows[] rows, int first, int count)
    {
        cancellation.ThrowIfCancellationRequested();
        var width = rows[0].Columns;
        Grow(ref _values, count * width);
        var values = _values.AsSpan(0, count * width);
        for (var (piece, begin) = (0, 0); piece < rows.Length; begin += rows[piece].Count, piece++)
        {
            var from = Math.Max(first, begin);
            var to = Math.Min(first + count, begin + rows[piece].Count);
            if (from >= to)
                continue;
            weights.Read(
                rows[piece].Tensor,
                rows[piece].Shape,
                ((long)rows[piece].First + from - begin) * width,
                values.Slice((from - first) * width, (to - from) * width));
        }

        return values;
    }

    private void Report(TensorRows[] rows)
    {
        _writtenWeights += (long)Height(rows) * rows[0].Columns;
        progress?.Report(new BuildProgress(rows[^1].Tensor, _writtenWeights, totalWeights));
    }

    private IEnumerable<(int First, int Count)> Blocks(int height, int width)
    {
        var most = Math.Max(1, blockElements / width);
        for (var first = 0; first < height; first += most)
            yield return (first, Math.Min(most, height - first));
    }

    private static int Height(TensorRows[] rows) => rows.Sum(r => r.Count);

    private static int SizeOf(DataType type) => type == DataType.Float ? sizeof(float) : 2;

    private static void Transpose(ReadOnlySpan<float> source, int rows, int columns, Span<float> target)
    {
        // In tiles, so that reading and writing both stay within the cache.
        for (var left = 0; left < columns; left += TileColumns)
        {
            for (var top = 0; top < rows; top += TileColumns)
            {
                for (var column = left; column < Math.Min(columns, left + TileColumns); column++)
                {
                    for (var row = top; row < Math.Min(rows, top + TileColumns); row++)
                        target[(column * rows) + row] = source[(row * columns) + column];
                }
            }
        }
    }

    private static void Grow<T>(ref T[] buffer, int length)
    {
        if (buffer.Length < length)
            buffer = new T[length];
    }
}
