namespace KvPrune.Benchmarks.Attention;

/// <summary>The ratios to the stock operator that this library is meant to reach, with one thread.</summary>
internal static class AttentionGoals
{
    private const int LeastContext = 2048;
    private const int MostContext = 131_072;
    private const double Avx2 = 1.7;

    // More new tokens than one: no slower than stock.
    private const double Prompt = 1;

    private static readonly AttentionShape[] Shapes = [new(32, 8, 64), new(28, 4, 128)];

    private static readonly Dictionary<string, double> Avx512 = new()
    {
        ["dense-bf16"] = 6.5,
        ["bitmap-bf16-70"] = 7,
        ["bitmap-int8-70"] = 10,
        ["think-int8-40"] = 13,
    };

    /// <summary>The formats that have a goal on AVX2 and are measured there unless others are asked for.</summary>
    public static readonly IReadOnlyList<string> Avx2Formats = ["dense-bf16", "think-int8-40"];

    /// <summary>The ratio to reach; null where none was set.</summary>
    public static double? Reach(AttentionInputs inputs, string format, string kernels, int threads)
    {
        if (!AttentionFormats.Policies.ContainsKey(format))
            return null;
        if (inputs.NewTokens > 1)
            return Prompt;
        if (threads != 1 || inputs.Batch != 1 || !Shapes.Contains(inputs.Shape) || inputs.Tokens is < LeastContext or > MostContext)
            return null;
        if (kernels == "avx2")
            return format.StartsWith("dense-", StringComparison.Ordinal) || format.StartsWith("think-", StringComparison.Ordinal) ? Avx2 : null;
        return kernels.StartsWith("avx512", StringComparison.Ordinal) && Avx512.TryGetValue(format, out var reach) ? reach : null;
    }
}
