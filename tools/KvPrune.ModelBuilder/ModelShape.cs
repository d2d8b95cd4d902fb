namespace KvPrune.ModelBuilder;

/// <summary>The sizes of a decoder and what its architecture leaves open. Named ones are in <see cref="ModelShapes"/>.</summary>
public sealed record ModelShape
{
    // Past any model's, and short of rotary tables that take hours to write for a damaged number.
    private const int LongestContext = 1 << 24;

    /// <summary>The family, which decides about biases, norms, activation and the names of tensors.</summary>
    public Architecture Architecture { get; init; } = Architecture.Llama;

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

    /// <summary>Width of one head.</summary>
    public required int HeadSize { get; init; }

    /// <summary>The longest sequence in tokens; the rotary tables have this many rows.</summary>
    public required int ContextLength { get; init; }

    /// <summary>Base of the rotary frequencies θ^(−2i/R).</summary>
    public double RopeTheta { get; init; } = 500_000;

    /// <summary>How the frequencies are changed for long contexts; null for not at all.</summary>
    public RopeScaling? RopeScaling { get; init; }

    /// <summary>The part of each head that rotary positions turn, from its first element on.</summary>
    public double PartialRotaryFactor { get; init; } = 1;

    /// <summary>The ε of RMSNorm.</summary>
    public float NormEpsilon { get; init; } = 1e-5f;

    /// <summary>Whether the output projection is the transposed embedding.</summary>
    public bool TiedEmbeddings { get; init; } = true;

    /// <summary>A token sees this many tokens, itself among them, in the layers with a window; null for all of them.</summary>
    public int? SlidingWindow { get; init; }

    /// <summary>The layers with the window; null for the architecture's own: the even ones of Gemma 2, all of another.</summary>
    public IReadOnlyList<int>? SlidingLayers { get; init; }

    /// <summary>Scores are multiplied by the inverse square root of this; null for <see cref="HeadSize"/>.</summary>
    public double? QueryScalar { get; init; }

    /// <summary>Scores s become c · tanh(s / c); null for no cap.</summary>
    public double? AttentionSoftcap { get; init; }

    /// <summary>Logits x become c · tanh(x / c); null for no cap.</summary>
    public double? LogitSoftcap { get; init; }

    internal int QueryWidth => QueryHeads * HeadSize;

    internal int KvWidth => KvHeads * HeadSize;

    internal int RotarySize => (int)(HeadSize * PartialRotaryFactor);

    internal double AttentionScale => 1 / Math.Sqrt(QueryScalar ?? HeadSize);

    internal bool IsGemma => Architecture == Architecture.Gemma2;

    /// <summary>The shape with other heads, for example <c>shape.WithHeads(6, 2, 96)</c>.</summary>
    public ModelShape WithHeads(int queryHeads, int kvHeads, int headSize) =>
        this with { QueryHeads = queryHeads, KvHeads = kvHeads, HeadSize = headSize };

    /// <summary>The window of a layer in tokens; −1 for none, as <c>local_window_size</c> has it.</summary>
    // Gemma 2's even layers have the window in Transformers; GenAI's builder gives it to the odd ones.
    internal int WindowOf(int layer) =>
        SlidingWindow is { } window && (SlidingLayers?.Contains(layer) ?? (!IsGemma || layer % 2 == 0)) ? window : -1;

    /// <summary>Checks the sizes against one another.</summary>
    /// <exception cref="ArgumentException">A size is not positive or two sizes do not fit; names both.</exception>
    public void Validate()
    {
        foreach (var (name, value) in new[]
        {
            (nameof(Vocabulary), Vocabulary), (nameof(Hidden), Hidden), (nameof(Intermediate), Intermediate),
            (nameof(Layers), Layers), (nameof(QueryHeads), QueryHeads), (nameof(KvHeads), KvHeads),
            (nameof(HeadSize), HeadSize), (nameof(ContextLength), ContextLength), (nameof(SlidingWindow), SlidingWindow ?? 1),
        })
        {
            if (value <= 0)
                throw new ArgumentException($"{name} is {value}; it has to be positive.");
        }

        foreach (var (name, value) in new[]
        {
            (nameof(RopeTheta), RopeTheta), (nameof(PartialRotaryFactor), PartialRotaryFactor), (nameof(QueryScalar), QueryScalar ?? 1),
            (nameof(AttentionSoftcap), AttentionSoftcap ?? 1), (nameof(LogitSoftcap), LogitSoftcap ?? 1),
        })
        {
            if (!double.IsFinite(value) || value <= 0)
                throw new ArgumentException($"{name} is {value}; it has to be a positive number.");
        }

        if (!Enum.IsDefined(Architecture))
            throw new ArgumentException($"{nameof(Architecture)} {Architecture} is none of {string.Join(", ", Enum.GetNames<Architecture>())}.");
        if (QueryHeads % KvHeads != 0)
            throw new ArgumentException($"{nameof(QueryHeads)} {QueryHeads} is not a multiple of {nameof(KvHeads)} {KvHeads}.");
        if (PartialRotaryFactor > 1)
            throw new ArgumentException($"{nameof(PartialRotaryFactor)} is {PartialRotaryFactor}; it cannot be more than 1.");
        if (RotarySize == 0 || RotarySize % 2 != 0)
        {
            throw new ArgumentException(
                $"{nameof(HeadSize)} {HeadSize} gives {RotarySize} elements to rotary positions; they need pairs.");
        }

        if (!float.IsFinite(NormEpsilon) || NormEpsilon < 0)
            throw new ArgumentException($"{nameof(NormEpsilon)} is {NormEpsilon}; it has to be a number of at least 0.");
        if (SlidingLayers?.FirstOrDefault(l => l < 0 || l >= Layers, -1) is { } wrong and not -1)
            throw new ArgumentException($"{nameof(SlidingLayers)} names layer {wrong}; {nameof(Layers)} is {Layers}.");
        if (ContextLength > LongestContext)
            throw new ArgumentException($"{nameof(ContextLength)} is {ContextLength}; the limit is {LongestContext}.");
        ValidateWidths();
        RopeScalingRules.Validate(this);
    }

    // Widths are held in 32 bits, and no tensor may have more elements than a 32-bit index reaches.
    private void ValidateWidths()
    {
        foreach (var (name, rows, columns) in new[]
        {
            (nameof(Vocabulary), Vocabulary, Hidden), (nameof(Intermediate), 2L * Intermediate, Hidden),
            (nameof(QueryHeads), ((long)QueryHeads + KvHeads + KvHeads) * HeadSize, Hidden), (nameof(ContextLength), ContextLength, HeadSize),
        })
        {
            if (rows > Array.MaxLength || rows * columns > Array.MaxLength)
                throw new ArgumentException($"{name} asks for a tensor of {rows} × {columns} elements; the limit is {Array.MaxLength}.");
        }
    }
}
