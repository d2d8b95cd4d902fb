using System.Text.Json.Serialization;

namespace KvPrune.Benchmarks.Attention;

/// <summary>One result.</summary>
/// <param name="Bench">attention (one decode step), follow-up (new tokens over a past) or prefill (new tokens over nothing).</param>
/// <param name="Shape">Query heads/KV heads/head size.</param>
/// <param name="Context">Tokens attended to.</param>
/// <param name="NewTokens">Tokens of one step, the last ones of the context.</param>
/// <param name="ChunkTokens">Tokens of one run.</param>
/// <param name="Threads">Threads of one operator.</param>
/// <param name="Batch">Sequences of one step.</param>
/// <param name="Format">How the cache is stored.</param>
/// <param name="RatioVsStock">Median over the pairs of stock time / this format's time.</param>
/// <param name="RatioSpread">Distance of the quartiles of that ratio.</param>
/// <param name="BytesVsDense16">Bytes of the cache over those of an unpruned 16-bit one.</param>
/// <param name="Gbps">Bytes of the cache over the median time, in 10⁹ bytes a second.</param>
internal sealed record AttentionRow(
    [property: JsonPropertyName("bench")] string Bench,
    [property: JsonPropertyName("shape")] string Shape,
    [property: JsonPropertyName("context")] int Context,
    [property: JsonPropertyName("new_tokens")] int NewTokens,
    [property: JsonPropertyName("chunk_tokens")] int ChunkTokens,
    [property: JsonPropertyName("threads")] int Threads,
    [property: JsonPropertyName("batch")] int Batch,
    [property: JsonPropertyName("format")] string Format,
    [property: JsonPropertyName("ratio_vs_stock")] double RatioVsStock,
    [property: JsonPropertyName("ratio_spread")] double RatioSpread,
    [property: JsonPropertyName("bytes_vs_dense16")] double BytesVsDense16,
    [property: JsonPropertyName("gbps")] double Gbps)
{
    /// <summary>Prefill: growth of the process's memory over one step, and what EstimateBytes says.</summary>
    [JsonPropertyName("peak_bytes")]
    public long? PeakBytes { get; init; }

    [JsonPropertyName("estimated_bytes")]
    public long? EstimatedBytes { get; init; }

    [JsonIgnore]
    public double LowerQuartile { get; init; }

    [JsonIgnore]
    public double UpperQuartile { get; init; }

    [JsonIgnore]
    public TimeSpan Median { get; init; }

    [JsonIgnore]
    public TimeSpan StockMedian { get; init; }
}
