namespace KvPrune.ModelBuilder;

/// <summary>Shapes by name, for random models.</summary>
public static class ModelShapes
{
    /// <summary>A Llama of under a second to build and run: 2 layers, 4/2/32 heads, 512 tokens.</summary>
    public static ModelShape Tiny { get; } = new()
    {
        Vocabulary = 320, Hidden = 128, Intermediate = 256, Layers = 2,
        QueryHeads = 4, KvHeads = 2, HeadSize = 32, ContextLength = 512,
    };

    /// <summary>Llama 3.2 1B.</summary>
    public static ModelShape Llama1B { get; } = new()
    {
        Vocabulary = 128_256, Hidden = 2_048, Intermediate = 8_192, Layers = 16,
        QueryHeads = 32, KvHeads = 8, HeadSize = 64, ContextLength = 131_072,
        RopeScaling = new Llama3RopeScaling(Factor: 32, LowFrequencyFactor: 1, HighFrequencyFactor: 4, OriginalContext: 8_192),
    };

    /// <summary>Qwen 2.5 0.5B.</summary>
    public static ModelShape Qwen05B { get; } = new()
    {
        Architecture = Architecture.Qwen2,
        Vocabulary = 151_936, Hidden = 896, Intermediate = 4_864, Layers = 24,
        QueryHeads = 14, KvHeads = 2, HeadSize = 64, ContextLength = 32_768,
        RopeTheta = 1_000_000, NormEpsilon = 1e-6f,
    };

    /// <summary>Qwen 2.5 7B.</summary>
    public static ModelShape Qwen7B { get; } = new()
    {
        Architecture = Architecture.Qwen2,
        Vocabulary = 152_064, Hidden = 3_584, Intermediate = 18_944, Layers = 28,
        QueryHeads = 28, KvHeads = 4, HeadSize = 128, ContextLength = 32_768,
        RopeTheta = 1_000_000, NormEpsilon = 1e-6f, TiedEmbeddings = false,
    };

    /// <summary>Phi-4-mini, with long factors that grow evenly from 1 to 32.</summary>
    public static ModelShape Phi4Mini { get; } = new()
    {
        Architecture = Architecture.Phi3,
        Vocabulary = 200_064, Hidden = 3_072, Intermediate = 8_192, Layers = 32,
        QueryHeads = 24, KvHeads = 8, HeadSize = 128, ContextLength = 131_072,
        RopeTheta = 10_000, PartialRotaryFactor = 0.75, SlidingWindow = 262_144, RopeScaling = LongRope(pairs: 48, originalContext: 4_096),
    };

    /// <summary>The named shapes.</summary>
    public static IReadOnlyDictionary<string, ModelShape> Named { get; } =
        new Dictionary<string, ModelShape>(StringComparer.OrdinalIgnoreCase)
        {
            ["tiny"] = Tiny, ["llama-1b"] = Llama1B, ["qwen-0.5b"] = Qwen05B, ["phi-4-mini"] = Phi4Mini, ["qwen-7b"] = Qwen7B,
            ["tiny-mistral"] = TinyOf(Architecture.Mistral), ["tiny-qwen2"] = TinyOf(Architecture.Qwen2),
            ["tiny-qwen3"] = TinyOf(Architecture.Qwen3), ["tiny-phi3"] = TinyOf(Architecture.Phi3),
            ["tiny-gemma2"] = TinyOf(Architecture.Gemma2),
        };

    /// <summary>
    /// <see cref="Tiny"/> as another architecture, with everything that sets it apart strong enough to show in the logits of a
    /// prompt of 100 tokens.
    /// </summary>
    public static ModelShape TinyOf(Architecture architecture) => architecture switch
    {
        Architecture.Mistral => Tiny with { Architecture = architecture, RopeTheta = 10_000, SlidingWindow = 24 },
        Architecture.Qwen2 => Tiny with { Architecture = architecture, RopeTheta = 1_000_000, NormEpsilon = 1e-6f },
        Architecture.Qwen3 => Tiny with { Architecture = architecture, HeadSize = 64, RopeTheta = 1_000_000, NormEpsilon = 1e-6f },
        Architecture.Phi3 => Tiny with
        {
            Architecture = architecture, HeadSize = 64, RopeTheta = 10_000, PartialRotaryFactor = 0.75, TiedEmbeddings = false,
            RopeScaling = LongRope(pairs: 24, originalContext: 64),
        },
        Architecture.Gemma2 => Tiny with
        {
            Architecture = architecture, HeadSize = 64, RopeTheta = 10_000, NormEpsilon = 1e-6f,
            SlidingWindow = 24, QueryScalar = 48, AttentionSoftcap = 8, LogitSoftcap = 4,
        },
        _ => Tiny,
    };

    private static LongRopeScaling LongRope(int pairs, int originalContext) => new(
        [.. Enumerable.Repeat(1.0, pairs)],
        [.. Enumerable.Range(0, pairs).Select(i => Math.Pow(32, i / (pairs - 1.0)))],
        originalContext);
}
