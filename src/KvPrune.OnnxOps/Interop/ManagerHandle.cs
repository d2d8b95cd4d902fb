using System.Runtime.InteropServices;

namespace KvPrune.OnnxOps.Interop;

/// <summary>Owns a kvp_manager.</summary>
internal sealed class ManagerHandle : SafeHandle
{
    public ManagerHandle(nint manager)
        : base(invalidHandleValue: 0, ownsHandle: true) => SetHandle(manager);

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        NativeMethods.kvp_manager_destroy(handle);
        return true;
    }
}
