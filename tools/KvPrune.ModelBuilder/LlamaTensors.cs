namespace KvPrune.ModelBuilder;

/// <summary>The tensors of a Llama checkpoint under their Hugging Face names.</summary>
internal static class LlamaTensors
{
    public const string Embedding = "model.embed_tokens.weight";
    public const string FinalNorm = "model.norm.weight";
    public const string OutputHead = "lm_head.weight";

    public static string InputNorm(int layer) => $"model.layers.{layer}.input_layernorm.weight";

    public static string PostAttentionNorm(int layer) => $"model.layers.{layer}.post_attention_layernorm.weight";

    /// <summary>A linear layer, for example <c>self_attn.q_proj</c>.</summary>
    public static string Linear(int layer, string module) => $"model.layers.{layer}.{module}.weight";

    /// <summary>Every tensor with its shape; a linear layer is [out, in].</summary>
    public static IEnumerable<(string Name, int[] Shape)> All(LlamaShape shape)
    {
        yield return (Embedding, [shape.Vocabulary, shape.Hidden]);
        for (var layer = 0; layer < shape.Layers; layer++)
        {
            yield return (InputNorm(layer), [shape.Hidden]);
            yield return (Linear(layer, "self_attn.q_proj"), [shape.QueryHeads * shape.HeadSize, shape.Hidden]);
            yield return (Linear(layer, "self_attn.k_proj"), [shape.KvHeads * shape.HeadSize, shape.Hidden]);
            yield return (Linear(layer, "self_attn.v_proj"), [shape.KvHeads * shape.HeadSize, shape.Hidden]);
            yield return (Linear(layer, "self_attn.o_proj"), [shape.Hidden, shape.QueryHeads * shape.HeadSize]);
            yield return (PostAttentionNorm(layer), [shape.Hidden]);
            yield return (Linear(layer, "mlp.gate_proj"), [shape.Intermediate, shape.Hidden]);
            yield return (Linear(layer, "mlp.up_proj"), [shape.Intermediate, shape.Hidden]);
            yield return (Linear(layer, "mlp.down_proj"), [shape.Hidden, shape.Intermediate]);
        }

        yield return (FinalNorm, [shape.Hidden]);
        if (!shape.TiedEmbeddings)
            yield return (OutputHead, [shape.Vocabulary, shape.Hidden]);
    }
}
