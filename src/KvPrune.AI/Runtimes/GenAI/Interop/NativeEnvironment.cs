using System.Runtime.InteropServices;

namespace KvPrune.AI.Runtimes.GenAI.Interop;

/// <summary>
/// The environment that native libraries read. On Unix .NET keeps a copy of its own, so that
/// <see cref="Environment.SetEnvironmentVariable(string, string)"/> does not reach them.
/// </summary>
internal static partial class NativeEnvironment
{
    public static string? Get(string name) => OperatingSystem.IsWindows()
        ? Environment.GetEnvironmentVariable(name)
        : Marshal.PtrToStringUTF8(getenv(name));

    /// <summary>Null removes the variable.</summary>
    public static void Set(string name, string? value)
    {
        if (OperatingSystem.IsWindows()) Environment.SetEnvironmentVariable(name, value);
        else if (value is null) _ = unsetenv(name);
        else _ = setenv(name, value, overwrite: 1);
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint getenv(string name);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int setenv(string name, string value, int overwrite);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int unsetenv(string name);
}
