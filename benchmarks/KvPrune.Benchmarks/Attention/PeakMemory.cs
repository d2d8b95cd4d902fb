using System.Globalization;

namespace KvPrune.Benchmarks.Attention;

/// <summary>How much of the machine's memory an action takes at most, as Linux counts it for the process.</summary>
internal static class PeakMemory
{
    /// <summary>Growth of the resident set's peak over its size before; null where the system does not tell.</summary>
    public static long? Growth(Action action)
    {
        // Writing 5 sets the peak back to the present size (man 5 proc_pid_clear_refs).
        const string Reset = "/proc/self/clear_refs";
        if (!File.Exists(Reset))
        {
            action();
            return null;
        }

        File.WriteAllText(Reset, "5");
        var before = Status("VmRSS:");
        action();
        return Status("VmHWM:") - before;
    }

    private static long Status(string name)
    {
        var line = File.ReadLines("/proc/self/status").First(line => line.StartsWith(name, StringComparison.Ordinal));
        var kibibytes = line[name.Length..].Trim().Split(' ')[0];
        return long.Parse(kibibytes, CultureInfo.InvariantCulture) * 1024;
    }
}
