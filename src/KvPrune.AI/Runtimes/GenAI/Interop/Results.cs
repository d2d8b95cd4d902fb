using System.Runtime.InteropServices;

namespace KvPrune.AI.Runtimes.GenAI.Interop;

/// <summary>What the functions return: 0 is success.</summary>
internal static class Results
{
    /// <summary>Throws on failure.</summary>
    /// <exception cref="GenAIException">The call failed.</exception>
    public static void ThrowOnFailure(this nint result)
    {
        if (result.TakeError() is { } message) throw new GenAIException(message);
    }

    /// <summary>Releases an OgaResult; its message, or null on success.</summary>
    public static unsafe string? TakeError(this nint result)
    {
        if (result == 0) return null;
        string message = Marshal.PtrToStringUTF8((nint)NativeMethods.OgaResultGetError(result)) ?? "";
        NativeMethods.OgaDestroyResult(result);
        return message;
    }
}
