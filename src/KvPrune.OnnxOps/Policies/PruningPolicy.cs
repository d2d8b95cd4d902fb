using System.Collections.Frozen;

namespace KvPrune.OnnxOps;

/// <summary>
/// What is kept of a sequence's K and V rows once they leave the dense tail, and how it is stored. Plain data: two
/// policies with equal properties are equal and produce the same cache. Every sparsity is the fraction <em>removed</em>.
/// </summary>
/// <remarks>
/// K is first cut to the channels that <see cref="KeyChannelSparsity"/> leaves (ThinK, arXiv 2407.21018: once per
/// prompt and KV head), then each row keeps its largest magnitudes (MUSTAFAR, arXiv 2505.22913, per-token magnitude),
/// then the survivors are rounded to the storage. V skips the first step.
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
        ["balanced"] = new() { KeyStorage = KvStorage.Int8, ValueStorage = KvStorage.Int8, KeyChannelSparsity = 0.4 },
        ["compact"] = new()
        {
            KeyStorage = KvStorage.Int8,
            ValueStorage = KvStorage.Int8,
            KeyChannelSparsity = 0.4,
            ValueSparsity = 0.7,
        },
    }.ToFrozenDictionary(StringComparer.OrdinalIgnoreCase);

    /// <summary>Everything in 32-bit: what the unpruned model computes. 2.0 of the dense 16-bit bytes.</summary>
    public static PruningPolicy Exact => Named["exact"];

    /// <summary>Everything in bfloat16: the 16-bit baseline, 1.0 of its bytes.</summary>
    public static PruningPolicy Dense => Named["dense"];

    /// <summary>Nothing removed, 8-bit with a scale per row: about 0.52 of the dense 16-bit bytes at 64 channels.</summary>
    public static PruningPolicy NearLossless => Named["near-lossless"];

    /// <summary>
    /// 8-bit, 40 % of the K channels removed, V whole: about 0.42 of the dense 16-bit bytes at 64 channels. Nothing has
    /// to be expanded from a bitmap, which makes it the cheapest to read in decode.
    /// </summary>
    public static PruningPolicy Balanced => Named["balanced"];

    /// <summary>8-bit, 40 % of the K channels and 70 % of each V row removed: about 0.28 at 64 channels.</summary>
    public static PruningPolicy Compact => Named["compact"];

    /// <summary>The presets by name: exact, dense, near-lossless, balanced, compact. Case does not matter.</summary>
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

    /// <summary>Fraction in [0, 1) of each K row's remaining channels that is removed, smallest magnitudes first.</summary>
    public double KeySparsity { get; init; }

    /// <summary>Fraction in [0, 1) of each V row's channels that is removed, smallest magnitudes first.</summary>
    public double ValueSparsity { get; init; }

    /// <summary>The newest tokens that always stay dense, 0 to <see cref="MaxWindow"/>.</summary>
    public int RecentWindow { get; init; } = 32;

    /// <summary>How many of the last prompt queries score K channels, 1 to <see cref="MaxWindow"/>.</summary>
    public int ObservationWindow { get; init; } = 32;

    /// <summary>
    /// Whether the last queries of a prompt decide what is kept, so that a compressed prefix is only right for the
    /// prompt that ended there.
    /// </summary>
    public bool IsQueryAware => KeyChannelSparsity > 0;

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

    /// <summary>Checks every property.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A property cannot be used; names it and its value.</exception>
    public void Validate()
    {
        RequireStorage(KeyStorage, nameof(KeyStorage));
        RequireStorage(ValueStorage, nameof(ValueStorage));
        RequireFraction(KeyChannelSparsity, nameof(KeyChannelSparsity));
        RequireFraction(KeySparsity, nameof(KeySparsity));
        RequireFraction(ValueSparsity, nameof(ValueSparsity));
        RequireWindow(RecentWindow, 0, nameof(RecentWindow));
        RequireWindow(ObservationWindow, 1, nameof(ObservationWindow));
    }

    private static void RequireStorage(KvStorage value, string name)
    {
        if (!Enum.IsDefined(value))
            throw new ArgumentOutOfRangeException(name, value, $"{name} must be one of {string.Join(", ", Enum.GetNames<KvStorage>())}.");
    }

    private static void RequireFraction(double value, string name)
    {
        // The native side computes in single precision, where a fraction just below 1 becomes 1.
        if (!(value >= 0 && (float)value < 1))
        {
            throw new ArgumentOutOfRangeException(
                name, value, $"{name} is the fraction removed and must be at least 0 and less than 1.");
        }
    }

    private static void RequireWindow(int value, int least, string name)
    {
        if (value < least || value > MaxWindow)
            throw new ArgumentOutOfRangeException(name, value, $"{name} must be from {least} to {MaxWindow} tokens.");
    }
}
