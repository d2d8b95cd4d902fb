using KvPrune.OnnxOps;

namespace KvPrune.Benchmarks.Attention;

/// <summary>The cache formats that are measured, by name.</summary>
internal static class AttentionFormats
{
    /// <summary>The stock operator against itself: how far a ratio strays from 1 by chance.</summary>
    public const string Control = "stock-fp32";

    /// <summary>The stock operator with its own 8-bit cache.</summary>
    public const string StockInt8 = "stock-int8";

    public static readonly IReadOnlyDictionary<string, PruningPolicy> Policies = new Dictionary<string, PruningPolicy>
    {
        ["dense-bf16"] = PruningPolicy.Dense,
        ["dense-fp16"] = Both(KvStorage.Float16),
        ["bitmap-bf16-50"] = new() { KeySparsity = 0.5, ValueSparsity = 0.5 },
        ["bitmap-bf16-70"] = new() { KeySparsity = 0.7, ValueSparsity = 0.7 },
        ["think-bf16-40"] = new() { KeyChannelSparsity = 0.4 },
        ["dense-int8"] = PruningPolicy.NearLossless,
        ["bitmap-int8-70"] = Both(KvStorage.Int8) with { KeySparsity = 0.7, ValueSparsity = 0.7 },
        ["think-int8-40"] = Both(KvStorage.Int8) with { KeyChannelSparsity = 0.4 },
        ["dense-int4"] = PruningPolicy.Balanced,
        ["bitmap-int4-70"] = Both(KvStorage.Int4) with { KeySparsity = 0.7, ValueSparsity = 0.7 },
        ["think-int4-40"] = Both(KvStorage.Int4) with { KeyChannelSparsity = 0.4 },
        ["compact"] = PruningPolicy.Compact,
        ["error-10"] = PruningPolicy.ForOutputError(0.1),
        ["snapkv-50"] = Half(TokenScore.WindowAttention),
        ["h2o-50"] = Half(TokenScore.AccumulatedAttention),
        ["expected-50"] = Half(TokenScore.ExpectedAttention),
    };

    public static readonly IReadOnlyList<string> All = [Control, StockInt8, .. Policies.Keys];

    public static readonly IReadOnlyList<string> Quick =
        [StockInt8, "dense-bf16", "bitmap-bf16-70", "dense-int8", "bitmap-int8-70", "think-int8-40"];

    /// <summary>Whether the policy scores tokens by all of a prompt's queries, so that the prompt has to be read by the operator.</summary>
    public static bool ObservesWholePrompt(PruningPolicy policy) =>
        policy.Eviction?.Score is TokenScore.AccumulatedAttention or TokenScore.ExpectedAttention;

    private static PruningPolicy Half(TokenScore score) => new() { Eviction = new() { Score = score, Sparsity = 0.5 } };

    private static PruningPolicy Both(KvStorage storage) => new() { KeyStorage = storage, ValueStorage = storage };
}
