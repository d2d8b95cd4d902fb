namespace KvPrune.ModelBuilder;

/// <summary>The sizes of a Llama decoder: grouped-query attention, SwiGLU, RMSNorm, half-split rotary positions, no biases.</summary>
public sealed record LlamaShape
{
    /// <summary>Number of token ids.</summary>
    public required int Vocabulary { get; init; }

    /// <summary>Width of the residual stream.</summary>
    public required int Hidden { get; init; }

    /// <summary>Width of the gated feed-forward layer.</summary>
    public required int Intermediate { get; init; }

    /// <summary>Number of decoder layers.</summary>
    public required int Layers { get; init; }

    /// <summary>Number of query heads; a multiple of <see cref="KvHeads"/>.</summary>
    public required int QueryHeads { get; init; }

    /// <summary>Number of key and value heads.</summary>
    public required int KvHeads { get; init; }

    /// <summary>Width of one head; even, because rotary positions turn pairs.</summary>
    public required int HeadSize { get; init; }

    /// <summary>The longest sequence in tokens; the rotary tables have this many rows.</summary>
    public required int ContextLength { get; init; }

    /// <summary>Base of the rotary frequencies θ^(−2i/D).</summary>
    public double RopeTheta { get; init; } = 500_000;

    /// <summary>The ε of RMSNorm.</summary>
    public float NormEpsilon { get; init; } = 1e-5f;

    /// <summary>Whether the output projection is the transposed embedding.</summary>
    public bool TiedEmbeddings { get; init; } = true;

    /// <summary>A model of under a second to build and run: 2 layers, 4/2/32 heads, 512 tokens.</summary>
    public static LlamaShape Tiny { get; } = new()
    {
        Vocabulary = 320, Hidden = 128, Intermediate = 256, Layers = 2,
        QueryHeads = 4, KvHeads = 2, HeadSize = 32, ContextLength = 512,
    };

    /// <summary>The sizes of Llama 3.2 1B (without its rotary scaling).</summary>
    public static LlamaShape Llama1B { get; } = new()
    {
        Vocabulary = 128_256, Hidden = 2_048, Intermediate = 8_192, Layers = 16,
        QueryHeads = 32, KvHeads = 8, HeadSize = 64, ContextLength = 131_072,
    };

    /// <summary>The named shapes.</summary>
    public static IReadOnlyDictionary<string, LlamaShape> Named { get; } =
        new Dictionary<string, LlamaShape>(StringComparer.OrdinalIgnoreCase) { ["tiny"] = Tiny, ["llama-1b"] = Llama1B };

    /// <summary>The shape with other heads, for example <c>shape.WithHeads(6, 2, 96)</c>.</summary>
    public LlamaShape WithHeads(int queryHeads, int kvHeads, int headSize) =>
        this with { QueryHeads = queryHeads, KvHeads = kvHeads, HeadSize = headSize };

    /// <summary>Checks the sizes against one another.</summary>
    /// <exception cref="ArgumentException">A size is not positive or two sizes do not fit; names both.</exception>
    public void Validate()
    {
        foreach (var (name, value) in new[]
        {
            (nameof(Vocabulary), Vocabulary), (nameof(Hidden), Hidden), (nameof(Intermediate), Intermediate),
            (nameof(Layers), Layers), (nameof(QueryHeads), QueryHeads), (nameof(KvHeads), KvHeads),
            (nameof(HeadSize), HeadSize), (nameof(ContextLength), ContextLength),
        })
        {
            if (value <= 0)
                throw new ArgumentException($"{name} is {value}; it has to be positive.");
        }

        if (QueryHeads % KvHeads != 0)
            throw new ArgumentException($"{nameof(QueryHeads)} {QueryHeads} is not a multiple of {nameof(KvHeads)} {KvHeads}.");
        if (HeadSize % 2 != 0)
            throw new ArgumentException($"{nameof(HeadSize)} {HeadSize} is odd; rotary positions need pairs.");
        foreach (var (name, rows, columns) in new[]
        {
            (nameof(Vocabulary), Vocabulary, Hidden), (nameof(Intermediate), Intermediate, Hidden),
            (nameof(QueryHeads), (long)QueryHeads * HeadSize, Hidden), (nameof(ContextLength), ContextLength, HeadSize / 2),
        })
        {
            // A tensor is held in one array.
            if (rows * columns > Array.MaxLength)
                throw new ArgumentException($"{name} asks for a tensor of {rows} × {columns} elements; the limit is {Array.MaxLength}.");
        }

        if (!double.IsFinite(RopeTheta) || RopeTheta <= 0)
            throw new ArgumentException($"{nameof(RopeTheta)} is {RopeTheta}; it has to be a positive number.");
        if (!float.IsFinite(NormEpsilon) || NormEpsilon < 0)
            throw new ArgumentException($"{nameof(NormEpsilon)} is {NormEpsilon}; it has to be a number of at least 0.");
    }
}
