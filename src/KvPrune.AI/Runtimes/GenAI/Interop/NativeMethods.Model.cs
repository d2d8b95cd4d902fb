using System.Runtime.InteropServices;

namespace KvPrune.AI.Runtimes.GenAI.Interop;

/// <summary>Configuration and model.</summary>
internal static unsafe partial class NativeMethods
{
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint OgaCreateConfig(string folder, out ConfigHandle config);

    /// <summary>The bytes are read when the model is created and must stay where they are until then.</summary>
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint OgaConfigAddModelData(ConfigHandle config, string fileName, byte* model, nuint length);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint OgaConfigOverlay(ConfigHandle config, string json);

    [LibraryImport(Library)]
    public static partial nint OgaConfigClearProviders(ConfigHandle config);

    [LibraryImport(Library)]
    public static partial void OgaDestroyConfig(nint config);

    [LibraryImport(Library)]
    public static partial nint OgaCreateModelFromConfig(ConfigHandle config, out ModelHandle model);

    [LibraryImport(Library)]
    public static partial void OgaDestroyModel(nint model);
}
