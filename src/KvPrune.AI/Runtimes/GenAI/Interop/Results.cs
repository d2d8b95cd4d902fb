using System.Runtime.InteropServices;

namespace KvPrune.AI.Runtimes.GenAI.Interop;

internal static class Results
{
    /// <summary>Releases an OgaResult and throws its message; 0 is success.</summary>
    /// <exception cref="GenAIException">The call failed.</exception>
    public static unsafe void ThrowOnFailure(this nint result)
    {
        if (result == 0) return;
        string message = Marshal.PtrToStringUTF8((nint)NativeMethods.OgaResultGetError(result)) ?? "";
        NativeMethods.OgaDestroyResult(result);
        throw new GenAIException(message);
    }
}
