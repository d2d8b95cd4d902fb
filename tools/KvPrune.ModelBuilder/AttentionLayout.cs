namespace KvPrune.ModelBuilder;

/// <summary>Which nodes stand for an attention layer: the forms that GenAI's model builder chooses by provider and precision.</summary>
public enum AttentionLayout
{
    /// <summary>One product for Q, K and V, <c>GroupQueryAttention</c> with rotary positions inside: CPU and CUDA folders.</summary>
    Packed,

    /// <summary>Three products, <c>GroupQueryAttention</c> with rotary positions inside: folders built without QKV fusion.</summary>
    Separate,

    /// <summary>Three products, <c>RotaryEmbedding</c> nodes fed by position_ids, then <c>GroupQueryAttention</c>: DirectML folders.</summary>
    OuterRotary,

    /// <summary>
    /// Three products, <c>RotaryEmbedding</c> nodes, then <c>MultiHeadAttention</c> with a causal bias made from attention_mask.
    /// As many KV heads as query heads; its mask takes a prompt in one piece only, as GenAI's own does.
    /// </summary>
    MultiHead,
}
