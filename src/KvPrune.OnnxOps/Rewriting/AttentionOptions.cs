using KvPrune.OnnxOps.Onnx;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>What an attention node does beyond causal attention, as the pruned operator's attributes.</summary>
internal sealed record AttentionOptions(float Scale)
{
    public bool Rotary { get; init; }

    public bool RotaryInterleaved { get; init; }

    /// <summary>The newest tokens that a token sees, itself among them; -1: all.</summary>
    public long Window { get; init; } = -1;

    public float Softcap { get; init; }

    public bool SmoothSoftmax { get; init; }

    public AttributeProto[] Attributes() =>
    [
        NodeAttribute.Float("scale", Scale),
        NodeAttribute.Int("do_rotary", Rotary ? 1 : 0),
        NodeAttribute.Int("rotary_interleaved", RotaryInterleaved ? 1 : 0),
        NodeAttribute.Int("local_window_size", Window),
        NodeAttribute.Float("softcap", Softcap),
        NodeAttribute.Int("smooth_softmax", SmoothSoftmax ? 1 : 0),
    ];
}
