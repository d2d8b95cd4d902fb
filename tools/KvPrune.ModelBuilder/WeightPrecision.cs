namespace KvPrune.ModelBuilder;

/// <summary>How the weights of the linear layers are stored; norms, embeddings and rotary tables are always fp32.</summary>
public enum WeightPrecision
{
    /// <summary>fp32, multiplied by <c>MatMul</c>.</summary>
    Fp32,

    /// <summary>4-bit blocks of 32 weights with one fp32 scale each, multiplied by <c>com.microsoft.MatMulNBits</c>.</summary>
    Int4,
}
