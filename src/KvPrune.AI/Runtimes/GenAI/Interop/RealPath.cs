using System.Runtime.InteropServices;

namespace KvPrune.AI.Runtimes.GenAI.Interop;

/// <summary>Tells whether two paths lead to one file, which the system loads once.</summary>
internal static partial class RealPath
{
    /// <summary>Whether two existing files are one, whatever links the paths go through.</summary>
    public static bool AreOne(string path, string other) => OperatingSystem.IsWindows()
        ? string.Equals(Path.GetFullPath(path), Path.GetFullPath(other), StringComparison.OrdinalIgnoreCase)
        : Resolve(path) == Resolve(other);

    private static string Resolve(string path)
    {
        nint resolved = realpath(path, 0);
        if (resolved == 0) return path;
        try
        {
            return Marshal.PtrToStringUTF8(resolved)!;
        }
        finally
        {
            free(resolved);
        }
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint realpath(string path, nint buffer);

    [LibraryImport("libc")]
    private static partial void free(nint memory);
}
