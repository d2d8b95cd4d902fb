using System.Runtime.InteropServices;

namespace KvPrune.OnnxOps.Interop;

/// <summary>kvp_policy.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly struct NativePolicy(PruningPolicy policy)
{
    public readonly int KeyStorage = (int)policy.KeyStorage;
    public readonly int ValueStorage = (int)policy.ValueStorage;
    public readonly float KeyChannelSparsity = (float)policy.KeyChannelSparsity;
    public readonly float KeySparsity = (float)policy.KeySparsity;
    public readonly float ValueSparsity = (float)policy.ValueSparsity;
    public readonly int RecentWindow = policy.RecentWindow;
    public readonly int ObservationWindow = policy.ObservationWindow;
}
