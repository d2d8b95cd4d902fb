using System.Reflection;
using System.Runtime.InteropServices;

namespace KvPrune.OnnxOps.Interop;

/// <summary>
/// Finds and loads libkvprune once. ONNX Runtime opens the op library by path while P/Invoke opens it by name; both get
/// the one path found here, so that the process holds one image of the library and one set of sequences.
/// </summary>
internal static class NativeLibraryFile
{
    private static readonly Lazy<string> Loaded = new(Load);

    /// <summary>The full path of the loaded library.</summary>
    public static string FullPath => Loaded.Value;

    /// <summary>Loads the library unless that was done before.</summary>
    /// <exception cref="DllNotFoundException">It is missing, does not load or has another ABI version.</exception>
    public static void EnsureLoaded() => _ = Loaded.Value;

    private static string Load()
    {
        var fileName = OperatingSystem.IsWindows() ? $"{NativeMethods.Library}.dll"
            : OperatingSystem.IsMacOS() ? $"lib{NativeMethods.Library}.dylib"
            : $"lib{NativeMethods.Library}.so";
        var folders = SearchFolders();
        var path = folders.Select(folder => Path.Combine(folder, fileName)).FirstOrDefault(File.Exists)
            ?? throw new DllNotFoundException(
                $"{fileName}, the native library of KvPrune.OnnxOps, was not found. Looked in: {string.Join(", ", folders)}. " +
                "Building KvPrune.OnnxOps with CMake and g++ installed puts it beside the assembly.");
        nint handle;
        try
        {
            handle = NativeLibrary.Load(path);
        }
        catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
        {
            throw new DllNotFoundException($"{path} does not load on this machine: {e.Message}", e);
        }

        NativeLibrary.SetDllImportResolver(
            typeof(NativeLibraryFile).Assembly, (name, _, _) => name == NativeMethods.Library ? handle : 0);
        if (!NativeLibrary.TryGetExport(handle, nameof(NativeMethods.kvp_abi_version), out _))
            throw new DllNotFoundException($"{path} is not the native library of KvPrune.OnnxOps.");
        var version = NativeMethods.kvp_abi_version();
        if (version != NativeMethods.AbiVersion)
        {
            throw new DllNotFoundException(
                $"{path} has ABI version {version}, this assembly needs {NativeMethods.AbiVersion}. Rebuild both together.");
        }

        return path;
    }

    // The order of the runtime's own probing: the folders of native assets that the host lists, then the assembly's.
    private static List<string> SearchFolders()
    {
        var folders = new List<string>();
        if (AppContext.GetData("NATIVE_DLL_SEARCH_DIRECTORIES") is string listed)
            folders.AddRange(listed.Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries));
        var assemblyFolder = AppContext.BaseDirectory;
#pragma warning disable IL3000 // Location is empty in a single-file application, where the base directory is right.
        if (Assembly.GetExecutingAssembly().Location is { Length: > 0 } location)
            assemblyFolder = Path.GetDirectoryName(location)!;
#pragma warning restore IL3000
        folders.Add(assemblyFolder);
        folders.Add(AppContext.BaseDirectory);
        foreach (var root in new[] { assemblyFolder, AppContext.BaseDirectory })
            folders.Add(Path.Combine(root, "runtimes", RuntimeInformation.RuntimeIdentifier, "native"));
        return [.. folders.Select(Path.GetFullPath).Distinct()];
    }
}
