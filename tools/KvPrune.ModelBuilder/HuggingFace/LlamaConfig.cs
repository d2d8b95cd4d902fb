using System.Text.Json;

namespace KvPrune.ModelBuilder.HuggingFace;

/// <summary>What config.json and generation_config.json say about a Llama checkpoint.</summary>
internal sealed record LlamaConfig(LlamaShape Shape, SpecialTokens Tokens, SearchSettings Search)
{
    private const string Architecture = "LlamaForCausalLM";

    /// <summary>Reads the folder's configuration.</summary>
    /// <exception cref="ModelSourceException">A file is missing or asks for something that the graph cannot express.</exception>
    public static LlamaConfig Load(string folder)
    {
        var config = JsonFile.Load(Path.Combine(folder, "config.json"));
        RefuseWhatTheGraphLacks(config);

        var hidden = config.Int("hidden_size");
        var heads = config.Int("num_attention_heads");
        if (config.FindInt("head_dim") is null && (heads <= 0 || hidden % heads != 0))
            throw config.Wrong("num_attention_heads", $"{heads} heads do not divide hidden_size {hidden}, and head_dim is missing.");
        var shape = new LlamaShape
        {
            Vocabulary = config.Int("vocab_size"),
            Hidden = hidden,
            Intermediate = config.Int("intermediate_size"),
            Layers = config.Int("num_hidden_layers"),
            QueryHeads = heads,
            KvHeads = config.FindInt("num_key_value_heads") ?? heads,
            HeadSize = config.FindInt("head_dim") ?? hidden / heads,
            ContextLength = config.Int("max_position_embeddings"),
            RopeTheta = RopeTheta(config),
            NormEpsilon = config.Find("rms_norm_eps") is { } epsilon ? (float)config.Double(epsilon, "rms_norm_eps") : 1e-6f,
            TiedEmbeddings = config.Flag("tie_word_embeddings", whenMissing: false),
        };
        try
        {
            shape.Validate();
        }
        catch (ArgumentException e)
        {
            throw new ModelSourceException(config.Path, null, e.Message, e);
        }

        // What the generation settings say goes before what the model's own configuration says, as Transformers has it.
        var generationPath = Path.Combine(folder, "generation_config.json");
        var generation = File.Exists(generationPath) ? JsonFile.Load(generationPath) : null;
        IReadOnlyList<int>? Ids(string property) => generation?.FindIds(property) ?? config.FindIds(property);

        var eos = Ids("eos_token_id") ?? throw config.Wrong("eos_token_id", "the property is missing; a chat could never end.");
        var tokens = new SpecialTokens((Ids("bos_token_id") ?? [1])[0], eos, (Ids("pad_token_id") ?? eos)[0]);
        foreach (var id in (int[])[tokens.Bos, .. eos, tokens.Pad])
        {
            if ((uint)id >= (uint)shape.Vocabulary)
                throw config.Wrong("vocab_size", $"the special token {id} lies outside the {shape.Vocabulary} token ids.");
        }

        return new LlamaConfig(shape, tokens, generation is null ? SearchSettings.Default : ReadSearch(generation, shape.Vocabulary));
    }

    private static void RefuseWhatTheGraphLacks(JsonFile config)
    {
        if (config.Find("architectures") is { } architectures)
        {
            if (architectures.ValueKind != JsonValueKind.Array || architectures.GetArrayLength() != 1
                || architectures[0].ValueKind != JsonValueKind.String || !architectures[0].ValueEquals(Architecture))
                throw config.Wrong("architectures", $"{architectures} is not [\"{Architecture}\"], the only one that is supported.");
        }
        else if (config.FindString("model_type") != "llama")
        {
            throw config.Wrong("architectures", $"the property is missing; expected [\"{Architecture}\"].");
        }

        foreach (var flag in (string[])["attention_bias", "mlp_bias"])
        {
            if (config.Flag(flag, whenMissing: false))
                throw config.Wrong(flag, "linear layers with a bias are not supported.");
        }

        if (config.FindString("hidden_act") is { } activation && activation != "silu")
            throw config.Wrong("hidden_act", $"\"{activation}\" is not supported, only \"silu\" is.");
        foreach (var property in (string[])["rope_scaling", "rope_parameters"])
        {
            if (config.Find(property) is not { } rope)
                continue;
            if (rope.ValueKind != JsonValueKind.Object)
                throw config.Wrong(property, $"{rope} is not an object.");
            var type = rope.TryGetProperty("rope_type", out var name) || rope.TryGetProperty("type", out name) ? name.ToString() : "?";
            if (type != "default")
                throw config.Wrong(property, $"scaled rotary positions of type \"{type}\" are not supported.");
        }

        foreach (var property in (string[])["quantization_config", "sliding_window"])
        {
            if (config.Find(property) is not null)
                throw config.Wrong(property, "a checkpoint with this property is not supported.");
        }
    }

    private static SearchSettings ReadSearch(JsonFile generation, int vocabulary)
    {
        var standard = SearchSettings.Default;
        var topK = generation.FindInt("top_k") ?? standard.TopK;
        if (topK < 0)
            throw generation.Wrong("top_k", $"{topK} is below 0.");
        return new SearchSettings(
            generation.Flag("do_sample", standard.Sample),
            Number("temperature", standard.Temperature, largest: double.MaxValue),
            // 0 means no limit in Transformers; other programs want a number of tokens.
            topK == 0 ? vocabulary : topK,
            Number("top_p", standard.TopP, largest: 1),
            Number("repetition_penalty", standard.RepetitionPenalty, largest: double.MaxValue));

        double Number(string property, double whenMissing, double largest)
        {
            if (generation.Find(property) is not { } value)
                return whenMissing;
            var number = generation.Double(value, property);
            return number > 0 && number <= largest ? number : throw generation.Wrong(property, $"{value} is out of range.");
        }
    }

    // Newer checkpoints keep the base inside rope_parameters.
    private static double RopeTheta(JsonFile config)
    {
        if (config.Find("rope_theta") is { } theta)
            return config.Double(theta, "rope_theta");
        if (config.Find("rope_parameters") is { } rope && rope.TryGetProperty("rope_theta", out theta))
            return config.Double(theta, "rope_parameters.rope_theta");
        return 10_000;
    }
}
