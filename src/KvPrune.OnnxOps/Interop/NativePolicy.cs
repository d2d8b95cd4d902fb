using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KvPrune.OnnxOps.Interop;

/// <summary>kvp_policy; <paramref name="layers"/> are the policy's <see cref="NativeLayerSparsity.All"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly unsafe struct NativePolicy(PruningPolicy policy, NativeLayerSparsity[] layers)
{
    public readonly int KeyStorage = (int)policy.KeyStorage;
    public readonly int ValueStorage = (int)policy.ValueStorage;
    public readonly float KeyChannelSparsity = (float)policy.KeyChannelSparsity;
    public readonly float KeySparsity = (float)policy.KeySparsity;
    public readonly float ValueSparsity = (float)policy.ValueSparsity;
    public readonly int RecentWindow = policy.RecentWindow;
    public readonly int ObservationWindow = policy.ObservationWindow;
    public readonly float ValueChannelSparsity = (float)policy.ValueChannelSparsity;
    public readonly int KeyPattern = (int)policy.KeyPattern;
    public readonly int ValuePattern = (int)policy.ValuePattern;
    public readonly int KeyScore = (int)policy.KeyScore;
    public readonly int ValueScore = (int)policy.ValueScore;
    public readonly int TokenScore = (int)(policy.Eviction?.Score ?? 0);
    public readonly float TokenSparsity = (float)(policy.Eviction?.Sparsity ?? 0);
    public readonly int TokenBudget = policy.Eviction?.TokenBudget ?? 0;
    public readonly int SinkTokens = policy.Eviction?.SinkTokens ?? 0;
    public readonly int PoolKernel = policy.Eviction?.PoolKernel ?? 0;
    public readonly float PyramidSlope = (float)(policy.Eviction?.PyramidSlope ?? 0);
    public readonly int HeadBudgets = (int)(policy.Eviction?.Heads ?? 0);
    public readonly float HeadFloor = (float)(policy.Eviction?.HeadFloor ?? 0);
    public readonly int WeighByValue = policy.Eviction is { WeighByValue: true } ? 1 : 0;
    public readonly int SecondStage = policy.Eviction is { SecondStage: true } ? 1 : 0;
    public readonly int WhileDecoding = policy.Eviction is { WhileDecoding: true } ? 1 : 0;
    public readonly float OutputError = (float)(policy.OutputError ?? 0);
    public readonly int LayerCount = policy.Layers.Count;
    public readonly NativeLayerSparsity* Layers =
        layers.Length == 0 ? null : (NativeLayerSparsity*)Unsafe.AsPointer(ref layers[0]);
}
