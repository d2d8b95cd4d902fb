using System.Text.Json.Nodes;
using KvPrune.ModelBuilder.Synthetic;

namespace KvPrune.ModelBuilder.Tests.HuggingFace;

/// <summary>Writes a small Hugging Face folder with the weights of a random model.</summary>
internal static class Checkpoint
{
    public static LlamaShape Shape { get; } = LlamaShape.Tiny with { Hidden = 64, Intermediate = 96, HeadSize = 16, Vocabulary = 300 };

    /// <summary>The configuration as Transformers writes it.</summary>
    public static JsonObject Config(LlamaShape shape) => new()
    {
        ["architectures"] = new JsonArray("LlamaForCausalLM"),
        ["model_type"] = "llama",
        ["hidden_act"] = "silu",
        ["vocab_size"] = shape.Vocabulary,
        ["hidden_size"] = shape.Hidden,
        ["intermediate_size"] = shape.Intermediate,
        ["num_hidden_layers"] = shape.Layers,
        ["num_attention_heads"] = shape.QueryHeads,
        ["num_key_value_heads"] = shape.KvHeads,
        ["head_dim"] = shape.HeadSize,
        ["max_position_embeddings"] = shape.ContextLength,
        ["rope_theta"] = shape.RopeTheta,
        ["rope_scaling"] = null,
        ["rms_norm_eps"] = 1e-5,
        ["attention_bias"] = false,
        ["mlp_bias"] = false,
        ["tie_word_embeddings"] = shape.TiedEmbeddings,
        ["bos_token_id"] = shape.Vocabulary - 6,
        ["eos_token_id"] = shape.Vocabulary - 1,
        ["pad_token_id"] = shape.Vocabulary - 5,
    };

    public static void WriteConfig(string folder, JsonObject config) =>
        File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJsonString());

    public static void Write(
        string folder,
        LlamaShape shape,
        int seed,
        string dtype = "F32",
        Func<(string Name, int[] Shape, float[] Values), (string, int[], float[])?>? change = null)
    {
        Directory.CreateDirectory(folder);
        WriteConfig(folder, Config(shape));
        ByteTokenizerFiles.Write(folder, shape.Vocabulary, shape.ContextLength);
        var weights = new RandomWeights(seed);
        var tensors = LlamaTensors.All(shape).Select(t => (t.Name, t.Shape, weights.Read(t.Name, t.Shape)));
        SafetensorsWriter.Write(
            Path.Combine(folder, "model.safetensors"),
            dtype,
            change is null ? tensors : tensors.Select(change).Where(t => t is not null).Select(t => t!.Value));
    }
}
