using System.Text.Json.Nodes;
using KvPrune.ModelBuilder.Synthetic;

namespace KvPrune.ModelBuilder.Tests.HuggingFace;

/// <summary>Writes a small Hugging Face folder with the weights of a random model.</summary>
internal static class Checkpoint
{
    public static ModelShape Shape { get; } = ModelShapes.Tiny with { Hidden = 64, Intermediate = 96, HeadSize = 16, Vocabulary = 300 };

    /// <summary>The configuration as Transformers writes it.</summary>
    public static JsonObject Config(ModelShape shape)
    {
        var name = shape.Architecture.ToString();
        var config = new JsonObject
        {
            ["architectures"] = new JsonArray($"{name}ForCausalLM"),
            ["model_type"] = name.ToLowerInvariant(),
            ["hidden_act"] = shape.Architecture == Architecture.Gemma2 ? "gelu_pytorch_tanh" : "silu",
            ["vocab_size"] = shape.Vocabulary,
            ["hidden_size"] = shape.Hidden,
            ["intermediate_size"] = shape.Intermediate,
            ["num_hidden_layers"] = shape.Layers,
            ["num_attention_heads"] = shape.QueryHeads,
            ["num_key_value_heads"] = shape.KvHeads,
            ["head_dim"] = shape.HeadSize,
            ["max_position_embeddings"] = shape.ContextLength,
            ["rope_theta"] = shape.RopeTheta,
            ["rope_scaling"] = Rope(shape.RopeScaling),
            ["rms_norm_eps"] = double.Parse(shape.NormEpsilon.ToString()),
            ["attention_bias"] = false,
            ["mlp_bias"] = false,
            ["tie_word_embeddings"] = shape.TiedEmbeddings,
            ["bos_token_id"] = shape.Vocabulary - 6,
            ["eos_token_id"] = shape.Vocabulary - 1,
            ["pad_token_id"] = shape.Vocabulary - 5,
        };
        if (shape.Architecture != Architecture.Llama)
            config["sliding_window"] = shape.SlidingWindow;
        if (shape.PartialRotaryFactor < 1)
            config["partial_rotary_factor"] = shape.PartialRotaryFactor;
        if (shape.RopeScaling is LongRopeScaling rope)
            config["original_max_position_embeddings"] = rope.OriginalContext;
        if (shape.Architecture == Architecture.Gemma2)
        {
            config["hidden_activation"] = "gelu_pytorch_tanh";
            config["query_pre_attn_scalar"] = shape.QueryScalar;
            config["attn_logit_softcapping"] = shape.AttentionSoftcap;
            config["final_logit_softcapping"] = shape.LogitSoftcap;
        }

        if (shape.SlidingLayers is { } layers)
        {
            config["use_sliding_window"] = true;
            config["layer_types"] = new JsonArray(
                [.. Enumerable.Range(0, shape.Layers).Select(l => (JsonNode)(layers.Contains(l) ? "sliding_attention" : "full_attention"))]);
        }

        return config;
    }

    private static JsonObject? Rope(RopeScaling? scaling) => scaling switch
    {
        LinearRopeScaling linear => new JsonObject { ["rope_type"] = "linear", ["factor"] = linear.Factor },
        Llama3RopeScaling llama => new JsonObject
        {
            ["rope_type"] = "llama3", ["factor"] = llama.Factor, ["low_freq_factor"] = llama.LowFrequencyFactor,
            ["high_freq_factor"] = llama.HighFrequencyFactor, ["original_max_position_embeddings"] = llama.OriginalContext,
        },
        LongRopeScaling rope => new JsonObject
        {
            ["type"] = "longrope",
            ["short_factor"] = new JsonArray([.. rope.ShortFactors.Select(f => (JsonNode)f)]),
            ["long_factor"] = new JsonArray([.. rope.LongFactors.Select(f => (JsonNode)f)]),
        },
        _ => null,
    };

    public static void WriteConfig(string folder, JsonObject config) =>
        File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJsonString());

    public static void Write(
        string folder,
        ModelShape shape,
        int seed,
        string dtype = "F32",
        Func<(string Name, int[] Shape, float[] Values), (string, int[], float[])?>? change = null)
    {
        WriteAllButWeights(folder, shape);
        SafetensorsWriter.Write(
            Path.Combine(folder, "model.safetensors"),
            dtype,
            change is null ? Tensors(shape, seed) : Tensors(shape, seed).Select(change).Where(t => t is not null).Select(t => t!.Value));
    }

    /// <summary>Writes the weights in several files, every third tensor in the same one, each file in a type of its own.</summary>
    public static void WriteSharded(string folder, ModelShape shape, int seed, params string[] dtypes)
    {
        WriteAllButWeights(folder, shape);
        var map = new JsonObject();
        foreach (var (number, dtype) in dtypes.Index())
        {
            var file = $"model-{number + 1:D5}-of-{dtypes.Length:D5}.safetensors";
            var tensors = Tensors(shape, seed).Where((_, i) => i % dtypes.Length == number).ToList();
            SafetensorsWriter.Write(Path.Combine(folder, file), dtype, tensors);
            foreach (var (name, _, _) in tensors)
                map[name] = file;
        }

        File.WriteAllText(
            Path.Combine(folder, "model.safetensors.index.json"),
            new JsonObject { ["metadata"] = new JsonObject { ["total_size"] = 1 }, ["weight_map"] = map }.ToJsonString());
    }

    private static void WriteAllButWeights(string folder, ModelShape shape)
    {
        Directory.CreateDirectory(folder);
        WriteConfig(folder, Config(shape));
        ByteTokenizerFiles.Write(folder, shape.Vocabulary, shape.ContextLength);
    }

    private static IEnumerable<(string Name, int[] Shape, float[] Values)> Tensors(ModelShape shape, int seed)
    {
        var weights = new RandomWeights(seed, shape.Architecture);
        return ModelTensors.All(shape).Select(t => (t.Name, t.Shape, weights.Read(t.Name, t.Shape)));
    }
}
