namespace KvPrune.ModelBuilder;

/// <summary>How the weights of linear layers and the activations are stored.</summary>
public enum WeightPrecision
{
    /// <summary>fp32 weights and activations, <c>MatMul</c>.</summary>
    Fp32,

    /// <summary>fp16 weights, activations, logits and past, <c>MatMul</c>.</summary>
    Fp16,

    /// <summary>4-bit weights in blocks with one scale each, <c>com.microsoft.MatMulNBits</c>; the rest is fp32: GenAI's choice for CPU.</summary>
    Int4,

    /// <summary>4-bit weights as <see cref="Int4"/>; the rest is fp16: GenAI's choice for CUDA.</summary>
    Int4Fp16,
}
