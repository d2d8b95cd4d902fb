using System.Globalization;
using System.Numerics.Tensors;

namespace KvPrune.Benchmarks.Measuring;

/// <summary>
/// Puts other data into the processor's caches, as the other layers and the weights of a model would between two
/// visits of one layer: reads a buffer larger than the last-level cache.
/// </summary>
internal sealed class CacheFlush
{
    private const long LeastBytes = 128L << 20;
    private const int CacheLineFloats = 16;
    private readonly float[] _buffer;
    private float _sum;

    public CacheFlush()
    {
        LastLevelBytes = ReadLastLevelBytes();
        _buffer = new float[Math.Min(Math.Max(LeastBytes, LastLevelBytes * 2) / sizeof(float), Array.MaxLength)];
        // Fresh pages all map to one page of zeros until they are written.
        for (var i = 0; i < _buffer.Length; i += CacheLineFloats)
            _buffer[i] = i;
    }

    /// <summary>Size of the last-level cache as the system states it; 0 where it does not.</summary>
    public long LastLevelBytes { get; }

    public long BufferBytes => (long)_buffer.Length * sizeof(float);

    /// <summary>Reads the buffer on the calling thread.</summary>
    public TimeSpan Run(RunClock clock) => clock.Time(() => _sum = TensorPrimitives.Sum<float>(_buffer));

    private static long ReadLastLevelBytes()
    {
        const string Folder = "/sys/devices/system/cpu/cpu0/cache";
        if (!Directory.Exists(Folder))
            return 0;
        return Directory.EnumerateDirectories(Folder, "index*")
            .Select(index => Path.Combine(index, "size"))
            .Where(File.Exists)
            .Select(file => ParseKibibytes(File.ReadAllText(file).Trim()))
            .DefaultIfEmpty(0)
            .Max();
    }

    private static long ParseKibibytes(string text) =>
        text.EndsWith('K') && long.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out var kibibytes)
            ? kibibytes * 1024
            : 0;
}
