namespace KvPrune.ModelBuilder;

/// <summary>The tensors of a checkpoint under their Hugging Face names.</summary>
internal static class ModelTensors
{
    public const string Embedding = "model.embed_tokens.weight";
    public const string FinalNorm = "model.norm.weight";
    public const string OutputHead = "lm_head.weight";

    /// <summary>A norm of a layer, for example <c>input_layernorm</c> or <c>self_attn.q_norm</c>.</summary>
    public static string Norm(int layer, string module) => $"model.layers.{layer}.{module}.weight";

    /// <summary>The rows [out, in] of a linear layer: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj or down_proj.</summary>
    public static TensorRows Linear(ModelShape shape, int layer, string module)
    {
        var (intermediate, hidden) = (shape.Intermediate, shape.Hidden);
        var fused = shape.Architecture == Architecture.Phi3;
        return module switch
        {
            "q_proj" => fused ? Qkv(0, shape.QueryWidth) : Whole("self_attn.q_proj", shape.QueryWidth, hidden),
            "k_proj" => fused ? Qkv(shape.QueryWidth, shape.KvWidth) : Whole("self_attn.k_proj", shape.KvWidth, hidden),
            "v_proj" => fused ? Qkv(shape.QueryWidth + shape.KvWidth, shape.KvWidth) : Whole("self_attn.v_proj", shape.KvWidth, hidden),
            "o_proj" => Whole("self_attn.o_proj", hidden, shape.QueryWidth),
            "gate_proj" => fused ? GateUp(0) : Whole("mlp.gate_proj", intermediate, hidden),
            "up_proj" => fused ? GateUp(intermediate) : Whole("mlp.up_proj", intermediate, hidden),
            "down_proj" => Whole("mlp.down_proj", hidden, intermediate),
            _ => throw new ArgumentException($"No linear layer is called {module}."),
        };

        TensorRows Whole(string name, int rows, int columns) => new($"model.layers.{layer}.{name}.weight", [rows, columns], 0, rows);
        TensorRows Qkv(int first, int rows) => new(
            $"model.layers.{layer}.self_attn.qkv_proj.weight", [shape.QueryWidth + (2 * shape.KvWidth), hidden], first, rows);
        TensorRows GateUp(int first) => new($"model.layers.{layer}.mlp.gate_up_proj.weight", [2 * intermediate, hidden], first, intermediate);
    }

    /// <summary>The bias [out] of q_proj, k_proj or v_proj.</summary>
    public static TensorRows Bias(ModelShape shape, int layer, string module) =>
        Vector($"model.layers.{layer}.self_attn.{module}.bias", module == "q_proj" ? shape.QueryWidth : shape.KvWidth);

    /// <summary>A whole tensor of one dimension.</summary>
    public static TensorRows Vector(string name, int length) => new(name, [length], 0, length);

    /// <summary>Every tensor with its shape.</summary>
    public static IEnumerable<(string Name, int[] Shape)> All(ModelShape shape)
    {
        yield return (Embedding, [shape.Vocabulary, shape.Hidden]);
        for (var layer = 0; layer < shape.Layers; layer++)
        {
            yield return (Norm(layer, "input_layernorm"), [shape.Hidden]);
            string? last = null;
            foreach (var module in (string[])["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])
            {
                var rows = Linear(shape, layer, module);
                // Several linear layers in one tensor follow one another.
                if (rows.Tensor != last)
                    yield return (rows.Tensor, rows.Shape);
                last = rows.Tensor;
                if (shape.Architecture == Architecture.Qwen2 && module is ("q_proj" or "k_proj" or "v_proj"))
                    yield return (Bias(shape, layer, module).Tensor, Bias(shape, layer, module).Shape);
            }

            if (shape.Architecture == Architecture.Qwen3)
            {
                yield return (Norm(layer, "self_attn.q_norm"), [shape.HeadSize]);
                yield return (Norm(layer, "self_attn.k_norm"), [shape.HeadSize]);
            }

            yield return (Norm(layer, "post_attention_layernorm"), [shape.Hidden]);
            if (shape.IsGemma)
            {
                yield return (Norm(layer, "pre_feedforward_layernorm"), [shape.Hidden]);
                yield return (Norm(layer, "post_feedforward_layernorm"), [shape.Hidden]);
            }
        }

        yield return (FinalNorm, [shape.Hidden]);
        if (!shape.TiedEmbeddings)
            yield return (OutputHead, [shape.Vocabulary, shape.Hidden]);
    }
}
