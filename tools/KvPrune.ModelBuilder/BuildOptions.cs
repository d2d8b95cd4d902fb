namespace KvPrune.ModelBuilder;

/// <summary>How a model is written, whatever its weights are.</summary>
public sealed record BuildOptions
{
    /// <summary>How weights and activations are stored.</summary>
    public WeightPrecision Precision { get; init; } = WeightPrecision.Fp32;

    /// <summary>Weights that share one scale in a 4-bit precision: 32 or 128.</summary>
    public int BlockSize { get; init; } = 32;

    /// <summary>The nodes of an attention layer.</summary>
    public AttentionLayout Attention { get; init; } = AttentionLayout.Packed;

    /// <summary>Replace the model in a folder that is not empty.</summary>
    public bool Overwrite { get; init; }

    internal bool IsInt4 => Precision is WeightPrecision.Int4 or WeightPrecision.Int4Fp16;

    internal bool HalfActivations => Precision is WeightPrecision.Fp16 or WeightPrecision.Int4Fp16;

    internal bool RotaryOutside => Attention is AttentionLayout.OuterRotary or AttentionLayout.MultiHead;

    /// <summary>Checks the options against the model.</summary>
    /// <exception cref="ArgumentException">The options do not go together; names both.</exception>
    internal void Validate(ModelShape shape)
    {
        if (BlockSize is not (32 or 128))
            throw new ArgumentException($"{nameof(BlockSize)} is {BlockSize}; it has to be 32 or 128.");
        if (Attention != AttentionLayout.MultiHead)
            return;
        if (shape.KvHeads != shape.QueryHeads)
            throw new ArgumentException($"{nameof(AttentionLayout.MultiHead)} needs as many KvHeads ({shape.KvHeads}) as QueryHeads ({shape.QueryHeads}).");
        if (shape.SlidingWindow is not null || shape.AttentionSoftcap is not null)
        {
            throw new ArgumentException(
                $"{nameof(AttentionLayout.MultiHead)} has neither a SlidingWindow nor an AttentionSoftcap; this model asks for one.");
        }
    }
}
