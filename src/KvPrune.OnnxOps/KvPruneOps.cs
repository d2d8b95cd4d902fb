using System.Runtime.InteropServices;
using KvPrune.OnnxOps.Interop;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.OnnxOps;

/// <summary>Brings the operator library into ONNX Runtime sessions.</summary>
public static class KvPruneOps
{
    /// <summary>The graph input of a rewritten model that carries sequence handles, int64 [batch_size].</summary>
    public const string SequenceHandlesInput = "kvprune_sequence_handles";

    /// <summary>Name of the kernels in use: scalar, avx2, avx512 or avx512_bf16.</summary>
    public static unsafe string Kernels
    {
        get
        {
            NativeLibraryFile.EnsureLoaded();
            return Marshal.PtrToStringUTF8((nint)NativeMethods.kvp_kernels())!;
        }
    }

    /// <summary>Registers the operators with a session about to be created.</summary>
    /// <exception cref="DllNotFoundException">The native library is missing or does not load.</exception>
    /// <exception cref="OnnxRuntimeException">ONNX Runtime refused the library.</exception>
    public static void Register(SessionOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.RegisterCustomOpLibrary(LibraryToRegister());
    }

    /// <summary>Full path of the operator library, for what registers it in place of <see cref="Register"/>.</summary>
    /// <inheritdoc cref="Register" path="/exception"/>
    internal static string LibraryToRegister()
    {
        OperatorDomain.EnsureEntered();
        return NativeLibraryFile.FullPath;
    }

    /// <summary>Uses the named kernels in the whole process from now on; null: the best that this CPU runs.</summary>
    /// <exception cref="KvCacheException">There are no such kernels, or this CPU cannot run them.</exception>
    public static void UseKernels(string? name)
    {
        NativeLibraryFile.EnsureLoaded();
        NativeMethods.kvp_use_kernels(name).ThrowOnFailure();
    }
}
