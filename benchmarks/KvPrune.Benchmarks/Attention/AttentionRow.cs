using System.Text.Json.Serialization;

namespace KvPrune.Benchmarks.Attention;

/// <summary>One result, with what belongs only to some kinds of measurement left out of the JSON elsewhere.</summary>
internal sealed record AttentionRow
{
    /// <summary>attention (one decode step), follow-up (new tokens over a past) or prefill (new tokens over nothing).</summary>
    [JsonPropertyName("bench")]
    public required string Bench { get; init; }

    /// <summary>Query heads/KV heads/head size.</summary>
    [JsonPropertyName("shape")]
    public required string Shape { get; init; }

    /// <summary>Tokens attended to.</summary>
    [JsonPropertyName("context")]
    public required int Context { get; init; }

    /// <summary>Threads of one operator.</summary>
    [JsonPropertyName("threads")]
    public required int Threads { get; init; }

    /// <summary>Sequences of one step.</summary>
    [JsonPropertyName("batch")]
    public required int Batch { get; init; }

    /// <summary>How the cache is stored.</summary>
    [JsonPropertyName("format")]
    public required string Format { get; init; }

    /// <summary>The kernels that read it; "onnxruntime" for the stock operator.</summary>
    [JsonPropertyName("kernels")]
    public required string Kernels { get; init; }

    /// <summary>Median over the pairs of stock time / this format's time.</summary>
    [JsonPropertyName("ratio_vs_stock")]
    public required double RatioVsStock { get; init; }

    /// <summary>Distance of the quartiles of that ratio.</summary>
    [JsonPropertyName("ratio_spread")]
    public required double RatioSpread { get; init; }

    /// <summary>The ratio to reach; null where none was set.</summary>
    [JsonPropertyName("reach")]
    public required double? Reach { get; init; }

    /// <summary>Bytes of the caches over those of unpruned 16-bit ones.</summary>
    [JsonPropertyName("bytes_vs_dense16")]
    public required double BytesVsDense16 { get; init; }

    /// <summary>Bytes of the caches over the median time, in 10⁹ bytes a second.</summary>
    [JsonPropertyName("gbps")]
    public required double Gbps { get; init; }

    /// <summary>What one thread reads from memory on this machine, in 10⁹ bytes a second.</summary>
    [JsonPropertyName("read_gbps_one_thread")]
    public required double ReadGbpsOneThread { get; init; }

    /// <summary>What all cores together read.</summary>
    [JsonPropertyName("read_gbps_all_threads")]
    public required double ReadGbpsAllThreads { get; init; }

    /// <summary>Several thread counts were asked for: the time of the fewest / the time of these.</summary>
    [JsonPropertyName("speedup")]
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? Speedup { get; init; }

    /// <summary>Follow-up and prefill: tokens of one step, the last ones of the context.</summary>
    [JsonPropertyName("new_tokens")]
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? NewTokens { get; init; }

    /// <summary>Follow-up and prefill: tokens of one run.</summary>
    [JsonPropertyName("chunk_tokens")]
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? ChunkTokens { get; init; }

    /// <summary>Prefill: growth of the process's memory over one step.</summary>
    [JsonPropertyName("peak_bytes")]
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? PeakBytes { get; init; }

    /// <summary>Prefill: what EstimateBytes says of that.</summary>
    [JsonPropertyName("estimated_bytes")]
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? EstimatedBytes { get; init; }

    /// <summary>Prefill, one thread: time of compressing the tokens afterwards / the median time.</summary>
    [JsonPropertyName("seal_share")]
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? SealShare { get; init; }

    [JsonIgnore]
    public double LowerQuartile { get; init; }

    [JsonIgnore]
    public double UpperQuartile { get; init; }

    [JsonIgnore]
    public TimeSpan Median { get; init; }

    [JsonIgnore]
    public TimeSpan StockMedian { get; init; }
}
