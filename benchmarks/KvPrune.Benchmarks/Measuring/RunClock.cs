using System.Diagnostics;
using System.Runtime.InteropServices;

namespace KvPrune.Benchmarks.Measuring;

/// <summary>
/// Measures one run. With one thread it counts the processor time of the calling thread, on which ONNX Runtime then
/// computes everything: on a busy machine the elapsed time of a long run holds other programs' turns while a short run
/// slips between them, which would flatter whatever is faster. With more threads it counts elapsed time.
/// </summary>
internal sealed partial class RunClock(int threads)
{
    private const int ThreadProcessorTime = 3; // CLOCK_THREAD_CPUTIME_ID

    /// <summary>Whether processor time is counted.</summary>
    public bool CountsProcessorTime { get; } = threads == 1 && OperatingSystem.IsLinux();

    /// <summary>Runs <paramref name="action"/> on the calling thread and returns how long that took.</summary>
    public TimeSpan Time(Action action)
    {
        var start = Now();
        action();
        return Now() - start;
    }

    private TimeSpan Now()
    {
        if (!CountsProcessorTime)
            return Stopwatch.GetElapsedTime(0);
        if (ClockGetTime(ThreadProcessorTime, out var time) != 0)
            throw new InvalidOperationException("The system does not tell the processor time of a thread.");
        return TimeSpan.FromTicks((time.Seconds * TimeSpan.TicksPerSecond) + (time.Nanoseconds / TimeSpan.NanosecondsPerTick));
    }

    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    private static partial int ClockGetTime(int clock, out TimeSpec time);

    [StructLayout(LayoutKind.Sequential)]
    private struct TimeSpec
    {
        public long Seconds;
        public long Nanoseconds;
    }
}
