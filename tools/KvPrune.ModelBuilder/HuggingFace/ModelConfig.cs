using System.Text.Json;

namespace KvPrune.ModelBuilder.HuggingFace;

/// <summary>What config.json and generation_config.json say about a checkpoint.</summary>
internal sealed record ModelConfig(ModelShape Shape, ModelSettings Settings)
{
    private const string ClassSuffix = "ForCausalLM";

    /// <summary>Reads the folder's configuration; what is missing takes the architecture's default in Transformers.</summary>
    /// <exception cref="ModelSourceException">A file is missing or asks for something that the graph cannot express.</exception>
    public static ModelConfig Load(string folder)
    {
        var config = JsonFile.Load(Path.Combine(folder, "config.json"));
        var architecture = ReadArchitecture(config);
        RefuseWhatTheGraphLacks(config, architecture);
        var shape = ReadShape(config, architecture);
        try
        {
            shape.Validate();
        }
        catch (ArgumentException e)
        {
            throw new ModelSourceException(config.Path, null, e.Message, e);
        }

        return new ModelConfig(shape, GenerationConfig.Load(folder, config, shape.Vocabulary));
    }

    private static Architecture ReadArchitecture(JsonFile config)
    {
        var supported = string.Join(", ", Enum.GetNames<Architecture>().Select(name => name + ClassSuffix));
        if (config.Find("architectures") is not { } classes)
        {
            var type = config.FindString("model_type");
            foreach (var architecture in Enum.GetValues<Architecture>())
            {
                if (string.Equals(type, architecture.ToString(), StringComparison.OrdinalIgnoreCase))
                    return architecture;
            }

            throw config.Wrong("architectures", $"the property is missing; supported are {supported}.");
        }

        if (classes.ValueKind == JsonValueKind.Array && classes.GetArrayLength() == 1 && classes[0].ValueKind == JsonValueKind.String)
        {
            foreach (var architecture in Enum.GetValues<Architecture>())
            {
                if (classes[0].ValueEquals(architecture + ClassSuffix))
                    return architecture;
            }
        }

        throw config.Wrong("architectures", $"{classes} is not supported; supported are {supported}.");
    }

    private static void RefuseWhatTheGraphLacks(JsonFile config, Architecture architecture)
    {
        foreach (var flag in (string[])["attention_bias", "mlp_bias"])
        {
            if (config.Flag(flag, whenMissing: false))
                throw config.Wrong(flag, "linear layers with a bias are not supported, but for the ones that Qwen2 always has.");
        }

        var (property, expected) = architecture == Architecture.Gemma2 ? ("hidden_activation", "gelu_pytorch_tanh") : ("hidden_act", "silu");
        if (config.FindString(property) is { } activation && activation != expected)
            throw config.Wrong(property, $"\"{activation}\" is not supported, only \"{expected}\" is.");
        if (config.Find("quantization_config") is not null)
            throw config.Wrong("quantization_config", "a checkpoint that is quantized already is not supported.");
    }

    private static ModelShape ReadShape(JsonFile config, Architecture architecture)
    {
        var gemma = architecture == Architecture.Gemma2;
        var hidden = config.Int("hidden_size");
        var heads = config.Int("num_attention_heads");
        var headSize = config.FindInt("head_dim") ?? architecture switch
        {
            Architecture.Gemma2 => 256,
            Architecture.Qwen3 => 128,
            _ when heads > 0 && hidden % heads == 0 => hidden / heads,
            _ => throw config.Wrong("num_attention_heads", $"{heads} heads do not divide hidden_size {hidden}, and head_dim is missing."),
        };
        var layers = config.Int("num_hidden_layers");
        var (window, windowLayers) = SlidingWindowConfig.Read(config, architecture, layers);
        return new ModelShape
        {
            Architecture = architecture,
            Vocabulary = config.Int("vocab_size"),
            Hidden = hidden,
            Intermediate = config.Int("intermediate_size"),
            Layers = layers,
            QueryHeads = heads,
            // The other classes have a default that fits one model each.
            KvHeads = architecture is Architecture.Llama or Architecture.Phi3
                ? config.FindInt("num_key_value_heads") ?? heads
                : config.Int("num_key_value_heads"),
            HeadSize = headSize,
            ContextLength = config.Int("max_position_embeddings"),
            RopeTheta = RopeConfig.Theta(config),
            RopeScaling = RopeConfig.Scaling(config, architecture),
            PartialRotaryFactor = RopeConfig.PartialFactor(config),
            NormEpsilon = config.Find("rms_norm_eps") is { } epsilon
                ? (float)config.Double(epsilon, "rms_norm_eps")
                : architecture == Architecture.Phi3 ? 1e-5f : 1e-6f,
            TiedEmbeddings = config.Flag("tie_word_embeddings", whenMissing: gemma),
            SlidingWindow = window,
            SlidingLayers = windowLayers,
            QueryScalar = gemma ? Number("query_pre_attn_scalar", 256) : null,
            AttentionSoftcap = gemma ? Number("attn_logit_softcapping", 50) : null,
            LogitSoftcap = gemma ? Number("final_logit_softcapping", 30) : null,
        };

        // A property that is null says that there is none; one that is missing, the default.
        double? Number(string property, double whenMissing) =>
            config.Find(property) is { } value ? config.Double(value, property) : config.Has(property) ? null : whenMissing;
    }
}
