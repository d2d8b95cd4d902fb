using System.Diagnostics;
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
    private const int BandwidthRuns = 5;

    private readonly float[] _buffer;
    private readonly List<double> _seconds = [];
    private float _sum;

    public CacheFlush()
    {
        LastLevelBytes = ReadLastLevelBytes();
        _buffer = new float[Math.Min(Math.Max(LeastBytes, LastLevelBytes * 2) / sizeof(float), Array.MaxLength)];
        // Fresh pages all map to one page of zeros until they are written.
        for (var i = 0; i < _buffer.Length; i += CacheLineFloats)
            _buffer[i] = i;
        AllThreadsBandwidth = MeasureAllThreads();
    }

    /// <summary>Size of the last-level cache as the system states it; 0 where it does not.</summary>
    public long LastLevelBytes { get; }

    public long BufferBytes => (long)_buffer.Length * sizeof(float);

    /// <summary>Bytes a second that one thread reads from memory: the median of the runs so far, of which there must be one.</summary>
    public double OneThreadBandwidth => BufferBytes / Quantiles.Of(_seconds, 0.5);

    /// <summary>Bytes a second that one thread on every core reads together: the best run, as another program takes its share of the rest.</summary>
    public double AllThreadsBandwidth { get; }

    /// <summary>Reads the buffer on the calling thread.</summary>
    public void Run(RunClock clock) =>
        _seconds.Add(clock.Time(() => _sum = TensorPrimitives.Sum<float>(_buffer)).TotalSeconds);

    private double MeasureAllThreads()
    {
        var parts = Environment.ProcessorCount;
        var length = _buffer.Length / parts;
        var sums = new float[parts];
        var best = double.PositiveInfinity;
        for (var run = 0; run < BandwidthRuns; run++)
        {
            // Threads of their own: the pool's may not all be there at once. They start before the clock does.
            using var start = new Barrier(parts + 1);
            var threads = Enumerable.Range(0, parts).Select(part => new Thread(() =>
            {
                start.SignalAndWait();
                sums[part] = TensorPrimitives.Sum<float>(_buffer.AsSpan(part * length, length));
            })).ToArray();
            Array.ForEach(threads, thread => thread.Start());
            start.SignalAndWait();
            var begin = Stopwatch.GetTimestamp();
            Array.ForEach(threads, thread => thread.Join());
            best = Math.Min(best, Stopwatch.GetElapsedTime(begin).TotalSeconds);
        }

        _sum = sums.Sum();
        return (double)length * parts * sizeof(float) / best;
    }

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
