namespace KvPrune.ModelBuilder;

/// <summary>The decoder families that this builder writes; the name in lower case is genai_config.json's <c>model.type</c>.</summary>
public enum Architecture
{
    /// <summary>Llama 2 and 3, SmolLM: grouped-query attention, SwiGLU, RMSNorm.</summary>
    Llama,

    /// <summary>Llama with a sliding window in every layer, if it has one.</summary>
    Mistral,

    /// <summary>Qwen 2 and 2.5: Llama with biases on the query, key and value projections.</summary>
    Qwen2,

    /// <summary>Qwen 3: Llama with an RMSNorm over each query and key head.</summary>
    Qwen3,

    /// <summary>Phi-3, Phi-3.5 and Phi-4-mini: Llama whose checkpoint fuses Q, K and V, and the gate and up projections.</summary>
    Phi3,

    /// <summary>
    /// Gemma 2: scaled embeddings, norms of weight 1 + w before and after every branch, soft caps on scores and logits, a sliding
    /// window in every other layer, tanh-GELU.
    /// </summary>
    Gemma2,
}
