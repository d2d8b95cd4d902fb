using System.Runtime.InteropServices;

namespace KvPrune.AI.Runtimes.GenAI.Interop;

/// <summary>
/// What is used of ONNX Runtime GenAI's C API (ort_genai_c.h), one to one. Callers go through
/// <see cref="GenAILibrary.EnsureLoaded"/> first. A returned <c>nint</c> is an OgaResult, to be given to
/// <see cref="Results.ThrowOnFailure"/>.
/// </summary>
internal static unsafe partial class NativeMethods
{
    public const string Library = "onnxruntime-genai";

    [LibraryImport(Library)]
    public static partial byte* OgaResultGetError(nint result);

    [LibraryImport(Library)]
    public static partial void OgaDestroyResult(nint result);

    [LibraryImport(Library)]
    public static partial void OgaDestroyString(nint text);
}
