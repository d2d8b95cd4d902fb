namespace KvPrune.ModelBuilder.Tests.Onnx;

/// <summary>A model of every architecture and form that the builder writes, by a name for the test report.</summary>
internal sealed record Variant(ModelShape Shape, AttentionLayout Attention = AttentionLayout.Packed)
{
    private static readonly ModelShape Tiny = ModelShapes.Tiny;

    public static IReadOnlyDictionary<string, Variant> All { get; } = new Dictionary<string, Variant>
    {
        ["llama 4/4/64"] = new(Tiny.WithHeads(4, 4, 64)),
        ["llama 8/2/64 untied"] = new(Tiny.WithHeads(8, 2, 64) with { TiedEmbeddings = false, RopeTheta = 10_000 }),
        ["llama 8/1/128"] = new(Tiny.WithHeads(8, 1, 128)),
        ["llama 6/2/96 separate"] = new(Tiny.WithHeads(6, 2, 96), AttentionLayout.Separate),
        ["llama outer rotary"] = new(Tiny, AttentionLayout.OuterRotary),
        ["llama multi-head"] = new(Tiny.WithHeads(4, 4, 32), AttentionLayout.MultiHead),
        ["llama3 rope"] = new(Tiny with { RopeTheta = 1_000, RopeScaling = new Llama3RopeScaling(8, 1, 4, 64) }),
        ["linear rope"] = new(Tiny with { RopeTheta = 1_000, RopeScaling = new LinearRopeScaling(4) }),
        ["mistral"] = new(ModelShapes.TinyOf(Architecture.Mistral)),
        ["mistral outer rotary"] = new(ModelShapes.TinyOf(Architecture.Mistral), AttentionLayout.OuterRotary),
        ["qwen2"] = new(ModelShapes.TinyOf(Architecture.Qwen2)),
        ["qwen2 separate"] = new(ModelShapes.TinyOf(Architecture.Qwen2), AttentionLayout.Separate),
        ["qwen2 multi-head"] = new(ModelShapes.TinyOf(Architecture.Qwen2).WithHeads(4, 4, 32), AttentionLayout.MultiHead),
        ["qwen2 window in layer 1"] = new(ModelShapes.TinyOf(Architecture.Qwen2) with { SlidingWindow = 16, SlidingLayers = [1] }),
        ["qwen3"] = new(ModelShapes.TinyOf(Architecture.Qwen3)),
        ["qwen3 separate"] = new(ModelShapes.TinyOf(Architecture.Qwen3), AttentionLayout.Separate),
        ["qwen3 outer rotary"] = new(ModelShapes.TinyOf(Architecture.Qwen3), AttentionLayout.OuterRotary),
        ["phi3"] = new(ModelShapes.TinyOf(Architecture.Phi3)),
        ["phi3 separate"] = new(ModelShapes.TinyOf(Architecture.Phi3), AttentionLayout.Separate),
        ["phi3 outer rotary"] = new(ModelShapes.TinyOf(Architecture.Phi3), AttentionLayout.OuterRotary),
        ["phi3 multi-head"] = new(ModelShapes.TinyOf(Architecture.Phi3).WithHeads(4, 4, 64), AttentionLayout.MultiHead),
        ["gemma2"] = new(ModelShapes.TinyOf(Architecture.Gemma2)),
        ["gemma2 separate untied"] = new(ModelShapes.TinyOf(Architecture.Gemma2) with { TiedEmbeddings = false }, AttentionLayout.Separate),
        ["gemma2 outer rotary"] = new(ModelShapes.TinyOf(Architecture.Gemma2), AttentionLayout.OuterRotary),
    };

    /// <summary>For theories.</summary>
    public static TheoryData<string> Names { get; } = [.. All.Keys];
}
