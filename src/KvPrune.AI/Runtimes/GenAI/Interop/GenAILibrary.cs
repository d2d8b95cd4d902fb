using System.Diagnostics;
using System.Reflection;
using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.AI.Runtimes.GenAI.Interop;

/// <summary>
/// Finds and loads ONNX Runtime GenAI's native library, once in a process. It has no function that tells its version,
/// so what is checked is that it has every function that is used here. On Linux it is pointed to the ONNX Runtime that the
/// process has loaded; elsewhere it is left to GenAI's own search to find the same one.
/// </summary>
internal static class GenAILibrary
{
    private const string VersionsTried = "0.15.2";
    private const string HowToGet =
        "Add the package Microsoft.ML.OnnxRuntimeGenAI (or Microsoft.ML.OnnxRuntimeGenAI.Cuda) to the application, or set " +
        $"{nameof(KvPruneOptions)}.GenAILibraryFolder to the folder of the library.";

    private static readonly Lock Loading = new();
    private static string? _loaded;

    private static string FileName => OperatingSystem.IsWindows() ? $"{NativeMethods.Library}.dll"
        : OperatingSystem.IsMacOS() ? $"lib{NativeMethods.Library}.dylib"
        : $"lib{NativeMethods.Library}.so";

    /// <summary>Whether there is a file to load. It may still be one that does not load.</summary>
    /// <param name="folder">The folder to look in; null: where the application's packages put native libraries.</param>
    public static bool Exists(string? folder) => Find(folder) is not null;

    /// <summary>Loads the library unless that was done before.</summary>
    /// <param name="folder">Where it lies; null: where the application's packages put native libraries.</param>
    /// <exception cref="DllNotFoundException">
    /// It is missing, does not load, lacks a function, or another file was loaded before.
    /// </exception>
    public static void EnsureLoaded(string? folder)
    {
        lock (Loading)
        {
            if (_loaded is not null)
            {
                if (folder is null) return;
                string other = Find(folder) ?? throw NotFound(folder);
                if (!RealPath.AreOne(other, _loaded))
                    throw new DllNotFoundException($"{other} cannot be used: this process already uses {_loaded}.");
                return;
            }
            string path = Find(folder) ?? throw NotFound(folder);
            nint library = LoadFile(path);
            NativeLibrary.SetDllImportResolver(
                typeof(GenAILibrary).Assembly, (name, _, _) => name == NativeMethods.Library ? library : 0);
            _loaded = path;
        }
    }

    /// <summary>Loads a file and checks that it is the library.</summary>
    /// <exception cref="DllNotFoundException">It does not load, or lacks a function.</exception>
    internal static nint LoadFile(string path)
    {
        lock (Loading) // it changes the environment for a moment
        {
            nint library = Load(path);
            RequireFunctions(path, library);
            return library;
        }
    }

    private static nint Load(string path)
    {
        // Read once, when the library is loaded. Who has set it, even to 0, keeps it.
        if (NativeEnvironment.Get("ORT_DISABLE_TELEMETRY") is null) NativeEnvironment.Set("ORT_DISABLE_TELEMETRY", "1");
        OrtEnv.Instance(); // loads ONNX Runtime: the library looks for it when it is loaded, and without it ends the process
        if (!OperatingSystem.IsLinux()) return LoadNative(path);
        // A second copy of ONNX Runtime, found by GenAI's own search, would not know this process's environment and operators.
        using var process = Process.GetCurrentProcess();
        string onnxRuntime = OnnxRuntimeFile(process.Modules.Cast<ProcessModule>().Select(module => module.FileName));
        string? previous = NativeEnvironment.Get("ORT_LIB_PATH");
        NativeEnvironment.Set("ORT_LIB_PATH", onnxRuntime);
        try
        {
            return LoadNative(path);
        }
        finally
        {
            NativeEnvironment.Set("ORT_LIB_PATH", previous);
        }
    }

    private static nint LoadNative(string path)
    {
        try
        {
            return NativeLibrary.Load(path);
        }
        catch (Exception error) when (error is DllNotFoundException or BadImageFormatException)
        {
            throw new DllNotFoundException($"{path} does not load on this machine: {error.Message}", error);
        }
    }

    /// <summary>The file that ONNX Runtime was loaded from, among a process's modules.</summary>
    /// <exception cref="DllNotFoundException">There is none, or several, or it has been deleted since.</exception>
    internal static string OnnxRuntimeFile(IEnumerable<string> modules)
    {
        string[] files = [.. modules.Where(file => Path.GetFileName(file).StartsWith("libonnxruntime.so", StringComparison.Ordinal)).Distinct()];
        return files switch
        {
            [] => throw new DllNotFoundException("ONNX Runtime is not loaded from a file called libonnxruntime.so; GenAI would not find it."),
            [string file] => File.Exists(file) ? file : throw new DllNotFoundException(
                $"ONNX Runtime was loaded from {file}, which is no longer there; GenAI would load another copy, or none."),
            _ => throw new DllNotFoundException($"The process holds several copies of ONNX Runtime: {string.Join(", ", files)}. GenAI needs one."),
        };
    }

    private static void RequireFunctions(string path, nint library)
    {
        string? missing = typeof(NativeMethods).GetMethods(BindingFlags.Public | BindingFlags.Static)
            .Select(method => method.Name)
            .FirstOrDefault(name => name.StartsWith("Oga", StringComparison.Ordinal) && !NativeLibrary.TryGetExport(library, name, out _));
        if (missing is not null)
        {
            throw new DllNotFoundException(
                $"{path} has no function {missing}: it is not ONNX Runtime GenAI, or a version that is not supported (tried: {VersionsTried}).");
        }
    }

    private static DllNotFoundException NotFound(string? folder) => new(
        $"{FileName}, the native library of ONNX Runtime GenAI, was not found. Looked in: {string.Join(", ", Folders(folder))}. {HowToGet}");

    private static string? Find(string? folder) =>
        Folders(folder).Select(candidate => Path.Combine(candidate, FileName)).FirstOrDefault(File.Exists);

    // Without a folder: where the host says that packages have put native libraries, then beside the application.
    private static string[] Folders(string? folder)
    {
        if (folder is not null) return [Path.GetFullPath(folder)];
        string listed = AppContext.GetData("NATIVE_DLL_SEARCH_DIRECTORIES") as string ?? "";
        string[] folders =
        [
            .. listed.Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries),
            AppContext.BaseDirectory,
            Path.Combine(AppContext.BaseDirectory, "runtimes", RuntimeInformation.RuntimeIdentifier, "native"),
        ];
        return [.. folders.Select(Path.GetFullPath).Distinct()];
    }
}
