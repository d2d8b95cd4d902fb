using KvPrune.OnnxOps;

namespace KvPrune.Benchmarks.Attention;

/// <summary>The cache formats that are measured, by name.</summary>
internal static class AttentionFormats
{
    /// <summary>The stock operator against itself: how far a ratio strays from 1 by chance.</summary>
    public const string Control = "stock-fp32";

    public static readonly IReadOnlyDictionary<string, PruningPolicy> Policies = new Dictionary<string, PruningPolicy>
    {
        ["dense-bf16"] = PruningPolicy.Dense,
        ["bitmap-bf16-50"] = new() { KeySparsity = 0.5, ValueSparsity = 0.5 },
        ["bitmap-bf16-70"] = new() { KeySparsity = 0.7, ValueSparsity = 0.7 },
        ["think-bf16-40"] = new() { KeyChannelSparsity = 0.4 },
        ["dense-int8"] = PruningPolicy.NearLossless,
        ["think-int8-40"] = PruningPolicy.Balanced,
        ["compact"] = PruningPolicy.Compact,
    };

    public static readonly IReadOnlyList<string> All = [Control, .. Policies.Keys];

    public static readonly IReadOnlyList<string> Quick = [Control, "dense-bf16", "bitmap-bf16-70", "compact"];
}
