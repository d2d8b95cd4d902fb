using System.Runtime.InteropServices;

namespace KvPrune.OnnxOps.Interop;

internal static class StatusExtensions
{
    /// <summary>Throws what a failed call left as the calling thread's last error.</summary>
    public static unsafe void ThrowOnFailure(this KvCacheStatus status)
    {
        if (status == KvCacheStatus.None)
            return;
        var text = Marshal.PtrToStringUTF8((nint)NativeMethods.kvp_last_error());
        throw new KvCacheException(status, string.IsNullOrEmpty(text) ? $"The cache reported {status}." : text);
    }
}
