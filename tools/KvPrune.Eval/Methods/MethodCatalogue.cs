using KvPrune.OnnxOps;
using static KvPrune.OnnxOps.KvStorage;

namespace KvPrune.Eval.Methods;

/// <summary>All methods that can be measured. A new one is a new row.</summary>
internal static class MethodCatalogue
{
    /// <summary>What all others are compared with: everything kept, in 16 bits.</summary>
    public static Method Baseline { get; } = new("dense", "storage", PruningPolicy.Dense);

    private static readonly PruningPolicy EightBit = PruningPolicy.NearLossless;

    private static readonly PruningPolicy FourBit = PruningPolicy.Balanced;

    /// <summary>Names for a first look.</summary>
    public static IReadOnlyList<string> Quick { get; } =
    [
        "dense", "int8", "int4", "think-k40", "think-v50", "token-kv50", "token-kv70", "token-kv-aware70", "channel-kv50",
        "think-k40-token-v70-int8", "think-k40-token-v50-int4", "streaming50", "snapkv50", "pyramidkv50", "adakv50", "criticalkv50",
        "h2o50", "expected50", "kvzip50", "kvzip-compact50", "error5-int8", "error20-int8",
    ];

    public static IReadOnlyList<Method> All { get; } =
    [
        Baseline,
        new("exact", "storage", PruningPolicy.Exact),
        new("int8", "storage", EightBit),
        new("int4", "storage", FourBit),
        new("int8-k-int4-v", "storage", new() { KeyStorage = Int8, ValueStorage = Int4 }),

        .. Ladder("think-k", "ThinK K", [0.2, 0.3, 0.4, 0.5, 0.6], s => new() { KeyChannelSparsity = s }),
        .. Ladder("think-k", "ThinK K, 8-bit", [0.2, 0.4, 0.6], s => EightBit with { KeyChannelSparsity = s }, "-int8"),
        .. Ladder("token-kv", "per-token K and V", [0.3, 0.5, 0.6, 0.7, 0.8], s => new() { KeySparsity = s, ValueSparsity = s }),
        .. Ladder("token-kv", "per-token K and V, 8-bit", [0.5, 0.7, 0.8], s => EightBit with { KeySparsity = s, ValueSparsity = s }, "-int8"),
        .. Ladder("token-k", "per-token K", [0.5, 0.7], s => new() { KeySparsity = s }),
        .. Ladder("token-v", "per-token V", [0.5, 0.7], s => new() { ValueSparsity = s }),
        .. Ladder(
            "think-k40-token-v", "ThinK K 40 %, per-token V, 8-bit", [0.5, 0.7, 0.8],
            s => EightBit with { KeyChannelSparsity = 0.4, ValueSparsity = s }, "-int8"),

        .. Ladder("think-k", "ThinK K, 4-bit", [0.2, 0.3, 0.4], s => FourBit with { KeyChannelSparsity = s }, "-int4"),
        .. Ladder("token-v", "per-token V, 4-bit", [0.5, 0.7], s => FourBit with { ValueSparsity = s }, "-int4"),
        .. Ladder("token-kv", "per-token K and V, 4-bit", [0.5, 0.7], s => FourBit with { KeySparsity = s, ValueSparsity = s }, "-int4"),
        .. Ladder(
            "think-k40-token-v", "ThinK K 40 %, per-token V, 4-bit", [0.5, 0.7],
            s => FourBit with { KeyChannelSparsity = 0.4, ValueSparsity = s }, "-int4"),

        .. Ladder("think-v", "ThinK V", [0.3, 0.5], s => new() { ValueChannelSparsity = s }),
        .. Ladder(
            "channel-kv", "per-channel K and V", [0.5, 0.7],
            s => new() { KeySparsity = s, ValueSparsity = s, KeyPattern = SparsityPattern.PerChannel, ValuePattern = SparsityPattern.PerChannel }),
        .. Ladder(
            "channel-v-attention", "per-channel V by attention", [0.5, 0.7],
            s => new() { ValueSparsity = s, ValuePattern = SparsityPattern.PerChannel, ValueScore = ValueScore.Attention }),
        .. Ladder("channel-v", "per-channel V", [0.5, 0.7], s => new() { ValueSparsity = s, ValuePattern = SparsityPattern.PerChannel }),
        .. Ladder("token-k-query", "per-token K by query magnitude", [0.5, 0.7, 0.8], s => new() { KeySparsity = s, KeyScore = KeyScore.QueryMagnitude }),
        .. Ladder("token-k-rms", "per-token K by query rms", [0.5, 0.7, 0.8], s => new() { KeySparsity = s, KeyScore = KeyScore.QueryRms }),
        .. Ladder("token-v-output", "per-token V by output weights", [0.5, 0.7, 0.8], s => new() { ValueSparsity = s, ValueScore = ValueScore.OutputWeight }),
        .. Ladder(
            "token-kv-aware", "per-token K and V, output-aware", [0.5, 0.6, 0.7, 0.8],
            s => new() { KeySparsity = s, ValueSparsity = s, KeyScore = KeyScore.QueryRms, ValueScore = ValueScore.OutputWeight }),

        .. Evictions("streaming", "StreamingLLM", s => new() { Score = TokenScore.Recency, Sparsity = s }),
        .. Evictions("snapkv", "SnapKV", s => new() { Score = TokenScore.WindowAttention, Sparsity = s }),
        .. Evictions("pyramidkv", "PyramidKV", s => new() { Score = TokenScore.WindowAttention, Sparsity = s, PyramidSlope = 20 }),
        .. Evictions("adakv", "SnapKV + AdaKV", s => new() { Score = TokenScore.WindowAttention, Sparsity = s, Heads = HeadBudgets.Adaptive }),
        .. Evictions("criticalkv", "SnapKV + CriticalKV", s => new() { Score = TokenScore.WindowAttention, Sparsity = s, SecondStage = true }),
        .. Evictions(
            "ada-critical", "SnapKV + AdaKV + CriticalKV",
            s => new() { Score = TokenScore.WindowAttention, Sparsity = s, Heads = HeadBudgets.Adaptive, SecondStage = true }),
        .. Evictions("h2o", "H2O", s => new() { Score = TokenScore.AccumulatedAttention, Sparsity = s }),
        .. Ladder(
            "streaming-decode", "StreamingLLM while decoding", [0.5],
            s => new() { Eviction = new() { Score = TokenScore.Recency, Sparsity = s, WhileDecoding = true } }),
        .. Ladder(
            "h2o-decode", "H2O while decoding", [0.5],
            s => new() { Eviction = new() { Score = TokenScore.AccumulatedAttention, Sparsity = s, WhileDecoding = true } }),
        .. Evictions("expected", "Expected Attention", s => new() { Score = TokenScore.ExpectedAttention, Sparsity = s }),
        .. Evictions(
            "expected-value", "Expected Attention x value", s => new() { Score = TokenScore.ExpectedAttention, Sparsity = s, WeighByValue = true }),
        .. Evictions("kvzip", "KVzip", s => new() { Score = TokenScore.Reconstruction, Sparsity = s, Heads = HeadBudgets.Global }),

        .. Ladder(
            "error", "error budget, 8-bit", [0.02, 0.05, 0.1, 0.2, 0.3],
            error => PruningPolicy.ForOutputError(error) with { KeyStorage = Int8, ValueStorage = Int8 }, "-int8"),
        .. Ladder(
            "error", "error budget, 4-bit", [0.02, 0.05, 0.1, 0.2, 0.3],
            error => PruningPolicy.ForOutputError(error) with { KeyStorage = Int4, ValueStorage = Int4 }, "-int4"),
        .. Ladder(
            "kvzip-int4-", "KVzip, 4-bit", [0.3, 0.5],
            s => FourBit with { Eviction = new() { Score = TokenScore.Reconstruction, Sparsity = s, Heads = HeadBudgets.Global } }),
        .. Ladder(
            "kvzip-compact", "KVzip + compact", [0.3, 0.5],
            s => PruningPolicy.Compact with { Eviction = new() { Score = TokenScore.Reconstruction, Sparsity = s, Heads = HeadBudgets.Global } }),
        .. Ladder(
            "snapkv-compact", "SnapKV + compact", [0.3, 0.5],
            s => PruningPolicy.Compact with { Eviction = new() { Score = TokenScore.WindowAttention, Sparsity = s } }),
    ];

    private static IEnumerable<Method> Evictions(string name, string family, Func<double, TokenEviction> eviction) =>
        Ladder(name, family, [0.3, 0.5, 0.7], s => new() { Eviction = eviction(s) });

    /// <summary>The methods that the names or families mean, in the catalogue's order, and always the baseline; none: all.</summary>
    /// <exception cref="ArgumentException">A name is neither; the message lists all.</exception>
    public static IReadOnlyList<Method> Select(IReadOnlyCollection<string> names)
    {
        static bool Is(Method method, string name) =>
            method.Name.Equals(name, StringComparison.OrdinalIgnoreCase) || method.Family.Equals(name, StringComparison.OrdinalIgnoreCase);
        if (names.FirstOrDefault(name => !All.Any(method => Is(method, name))) is { } unknown)
        {
            throw new ArgumentException(
                $"No method or family is called '{unknown}'. The methods are {string.Join(", ", All.Select(method => method.Name))}; "
                + $"the families are {string.Join(", ", All.Select(method => $"'{method.Family}'").Distinct())}.");
        }
        return [.. All.Where(method => names.Count == 0 || method == Baseline || names.Any(name => Is(method, name)))];
    }

    private static IEnumerable<Method> Ladder(
        string name, string family, double[] sparsities, Func<double, PruningPolicy> policy, string suffix = "") =>
        sparsities.Select(sparsity => new Method(FormattableString.Invariant($"{name}{100 * sparsity:0}{suffix}"), family, policy(sparsity)));
}
