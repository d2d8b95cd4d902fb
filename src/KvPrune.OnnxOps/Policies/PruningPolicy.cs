using System.Collections.Frozen;

namespace KvPrune.OnnxOps;

/// <summary>
/// What is kept of a sequence's K and V rows once they leave the dense tail, and how it is stored. Plain data: two
/// policies with equal properties are equal and produce the same cache. Every sparsity is the fraction <em>removed</em>.
/// </summary>
/// <remarks>
/// At a prompt's end first tokens are evicted (<see cref="Eviction"/>), then whole channels are removed from what is left
/// (ThinK, arXiv 2407.21018: once per prompt and KV head), then single elements (MUSTAFAR, arXiv 2505.22913), then the
/// survivors are rounded to the storage.
/// </remarks>
public sealed record PruningPolicy
{
    /// <summary>Largest accepted <see cref="RecentWindow"/> and <see cref="ObservationWindow"/>, in tokens.</summary>
    public const int MaxWindow = 1 << 20;

    private static readonly FrozenDictionary<string, PruningPolicy> Named = new Dictionary<string, PruningPolicy>
    {
        ["exact"] = new() { KeyStorage = KvStorage.Float32, ValueStorage = KvStorage.Float32 },
        ["dense"] = new(),
        ["near-lossless"] = new() { KeyStorage = KvStorage.Int8, ValueStorage = KvStorage.Int8 },
        ["balanced"] = new() { KeyStorage = KvStorage.Int4, ValueStorage = KvStorage.Int4 },
        ["compact"] = new()
        {
            KeyStorage = KvStorage.Int4,
            ValueStorage = KvStorage.Int4,
            KeyChannelSparsity = 0.4,
            ValueSparsity = 0.5,
        },
        ["extreme"] = new()
        {
            KeyStorage = KvStorage.Int4,
            ValueStorage = KvStorage.Int4,
            KeyChannelSparsity = 0.4,
            ValueSparsity = 0.5,
            Eviction = new() { Score = TokenScore.Reconstruction, Sparsity = 0.5, Heads = HeadBudgets.Global },
        },
    }.ToFrozenDictionary(StringComparer.OrdinalIgnoreCase);

    /// <summary>Everything in 32-bit: what the unpruned model computes. 2.0 of the dense 16-bit bytes.</summary>
    public static PruningPolicy Exact => Named["exact"];

    /// <summary>Everything in bfloat16: the 16-bit baseline, 1.0 of its bytes.</summary>
    public static PruningPolicy Dense => Named["dense"];

    /// <summary>Nothing removed, 8-bit with a scale per row: about 0.52 of the dense 16-bit bytes at 64 channels.</summary>
    public static PruningPolicy NearLossless => Named["near-lossless"];

    /// <summary>
    /// Nothing removed, 4-bit with a scale per K channel and V row of a tile (KIVI, arXiv 2402.02750): about 0.28 of the
    /// dense 16-bit bytes at 64 channels.
    /// </summary>
    public static PruningPolicy Balanced => Named["balanced"];

    /// <summary>4-bit, 40 % of the K channels and half of each V row removed: about 0.19 at 64 channels.</summary>
    public static PruningPolicy Compact => Named["compact"];

    /// <summary>
    /// <see cref="Compact"/> without the half of the first segment's tokens that the model needs least to repeat it (KVzip,
    /// arXiv 2505.23416): about 0.10 at 64 channels. That segment is read twice.
    /// </summary>
    public static PruningPolicy Extreme => Named["extreme"];

    /// <summary>The presets by name: exact, dense, near-lossless, balanced, compact, extreme. Case does not matter.</summary>
    public static IReadOnlyDictionary<string, PruningPolicy> Presets => Named;

    /// <summary>How kept K entries are stored.</summary>
    public KvStorage KeyStorage { get; init; } = KvStorage.BFloat16;

    /// <summary>How kept V entries are stored.</summary>
    public KvStorage ValueStorage { get; init; } = KvStorage.BFloat16;

    /// <summary>
    /// ThinK's λ in [0, 1): ⌊λ·D⌋ of the D channels of each KV head's keys are removed from prompt rows, those with the
    /// lowest product of mean squared query (last <see cref="ObservationWindow"/> prompt queries, averaged over the
    /// group) and mean squared key. Rows of generated tokens keep every channel.
    /// </summary>
    public double KeyChannelSparsity { get; init; }

    /// <summary>
    /// The fraction λ in [0, 1) of V channels: ⌊λ·D⌋ of the D channels of each KV head's values are removed from prompt rows,
    /// those with the lowest norm of the observed queries' attention times the channel (ThinK, appendix D). Rows of generated
    /// tokens keep every channel.
    /// </summary>
    public double ValueChannelSparsity { get; init; }

    /// <summary>Fraction in [0, 1) of the elements in K's remaining channels that is removed.</summary>
    public double KeySparsity { get; init; }

    /// <summary>Fraction in [0, 1) of the elements in V's remaining channels that is removed.</summary>
    public double ValueSparsity { get; init; }

    /// <summary>Which elements of K compete.</summary>
    public SparsityPattern KeyPattern { get; init; }

    /// <summary>Which elements of V compete.</summary>
    public SparsityPattern ValuePattern { get; init; }

    /// <summary>What ranks the elements of K.</summary>
    public KeyScore KeyScore { get; init; }

    /// <summary>What ranks the elements of V.</summary>
    public ValueScore ValueScore { get; init; }

    /// <summary>Which tokens are evicted; null: none.</summary>
    public TokenEviction? Eviction { get; init; }

    /// <summary>
    /// The largest relative error in (0, 1) of attention outputs, measured on the observed queries, with which each layer and
    /// KV head removes as many K channels and elements as it can, in place of the sparsities of both; null: these count.
    /// The error is ‖o' − o‖/‖o‖ of the outputs of all query heads of the group, o before a prompt is compressed and o'
    /// after, evicted tokens missing; the observed queries of a shared document are its own last ones. A head that cannot stay
    /// within it removes nothing and stores integers as bfloat16 instead; <see cref="KvSequence.ReadHead"/> tells what it chose
    /// and reached. Rows of generated tokens, for which nothing is measured, are rounded to the storages only, and to 8-bit
    /// where these are 4-bit.
    /// </summary>
    public double? OutputError { get; init; }

    /// <summary>
    /// Sparsities of single layers in place of the policy's, one entry for each layer of the model; empty: the same in all.
    /// </summary>
    public LayerSparsities Layers { get; init; } = [];

    /// <summary>The newest tokens that always stay dense, 0 to <see cref="MaxWindow"/>.</summary>
    public int RecentWindow { get; init; } = 32;

    /// <summary>How many of the last prompt queries are observed for scores, 1 to <see cref="MaxWindow"/>.</summary>
    public int ObservationWindow { get; init; } = 32;

    /// <summary>
    /// Whether tokens are evicted by what a prompt's last queries attend to, so that a compressed prefix only suits the
    /// question that ended it. Channels and elements that are chosen by these queries suit other questions too.
    /// </summary>
    public bool IsQueryAware =>
        Eviction is { Score: TokenScore.WindowAttention } eviction
        && (eviction.TokenBudget is not null || Removes(layer => layer.TokenSparsity, eviction.Sparsity));

    /// <summary>
    /// Whether tokens are chosen only once a prompt's rows are there in all layers, which takes a deferred segment
    /// (<see cref="KvSequence.OpenDeferredSegment"/>). Such a policy compresses documents: other segments keep their tokens.
    /// </summary>
    public bool NeedsDeferredSegment => NeedsProbes || Eviction?.Heads == HeadBudgets.Global;

    /// <summary>Whether probe steps (<see cref="KvStep.BeginProbe"/>) have to follow that segment.</summary>
    public bool NeedsProbes => Eviction?.Score == TokenScore.Reconstruction;

    /// <summary>Whether the model's output projection decides what is kept.</summary>
    public bool NeedsOutputWeights =>
        (ValueScore == ValueScore.OutputWeight && (RemovesValues || OutputError is not null)) ||
        Eviction is { WeighByValue: true } or { SecondStage: true };

    private bool RemovesValues => Removes(layer => layer.ValueSparsity, ValueSparsity);

    /// <summary>
    /// Up to 4-bit, with as many channels and elements removed as the attention outputs allow within a relative error.
    /// </summary>
    /// <param name="error">See <see cref="OutputError"/>, such as 0.02.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="error"/> is not in (0, 1).</exception>
    public static PruningPolicy ForOutputError(double error)
    {
        var policy = new PruningPolicy { KeyStorage = KvStorage.Int4, ValueStorage = KvStorage.Int4, OutputError = error };
        policy.Validate();
        return policy;
    }

    /// <summary>The preset called <paramref name="name"/>.</summary>
    /// <exception cref="ArgumentException">There is no such preset; the message lists them.</exception>
    public static PruningPolicy FromName(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (Named.TryGetValue(name, out var policy))
            return policy;
        var names = string.Join(", ", Named.Keys.Order(StringComparer.Ordinal));
        throw new ArgumentException($"No pruning policy is called '{name}'. The presets are {names}.", nameof(name));
    }

    /// <summary>Checks every property, and that they can be combined.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A property cannot be used; names it and its value.</exception>
    /// <exception cref="ArgumentException">Properties exclude each other; names one and gives the reason.</exception>
    public void Validate() => PolicyRules.Check(this);

    private bool Removes(Func<LayerSparsity, double?> of, double own) =>
        Layers.Count == 0 ? own > 0 : Layers.Any(layer => (of(layer) ?? own) > 0);
}
