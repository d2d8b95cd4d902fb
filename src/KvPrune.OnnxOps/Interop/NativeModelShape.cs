using System.Runtime.InteropServices;

namespace KvPrune.OnnxOps.Interop;

/// <summary>kvp_model_shape.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly struct NativeModelShape(KvModelShape shape)
{
    public readonly int Layers = shape.Layers;
    public readonly int QueryHeads = shape.QueryHeads;
    public readonly int KvHeads = shape.KvHeads;
    public readonly int HeadSize = shape.HeadSize;
    public readonly long MaxTokens = shape.MaxTokens;
}
