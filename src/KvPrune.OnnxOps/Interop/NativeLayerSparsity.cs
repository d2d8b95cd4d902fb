using System.Runtime.InteropServices;

namespace KvPrune.OnnxOps.Interop;

/// <summary>kvp_layer_sparsity: a layer's sparsities, the policy's own filled in.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly struct NativeLayerSparsity(PruningPolicy policy, LayerSparsity layer)
{
    public readonly float KeyChannelSparsity = (float)(layer.KeyChannelSparsity ?? policy.KeyChannelSparsity);
    public readonly float ValueChannelSparsity = (float)(layer.ValueChannelSparsity ?? policy.ValueChannelSparsity);
    public readonly float KeySparsity = (float)(layer.KeySparsity ?? policy.KeySparsity);
    public readonly float ValueSparsity = (float)(layer.ValueSparsity ?? policy.ValueSparsity);
    public readonly float TokenSparsity = (float)(layer.TokenSparsity ?? policy.Eviction?.Sparsity ?? 0);

    /// <summary>
    /// All layers that a policy describes; none where it is the same in every layer. The array does not move, and is to be
    /// kept alive for as long as a <see cref="NativePolicy"/> points to it.
    /// </summary>
    public static NativeLayerSparsity[] All(PruningPolicy policy)
    {
        var layers = GC.AllocateUninitializedArray<NativeLayerSparsity>(policy.Layers.Count, pinned: true);
        for (var i = 0; i < layers.Length; i++)
            layers[i] = new NativeLayerSparsity(policy, policy.Layers[i]);
        return layers;
    }
}
