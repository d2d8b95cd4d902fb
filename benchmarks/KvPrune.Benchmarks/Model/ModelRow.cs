using System.Text.Json.Serialization;

namespace KvPrune.Benchmarks.Model;

/// <summary>One result.</summary>
internal sealed record ModelRow
{
    /// <summary>The benchmark: model.</summary>
    [JsonPropertyName("bench")]
    public string Bench { get; } = "model";

    /// <summary>Name of the model folder.</summary>
    [JsonPropertyName("shape")]
    public required string Shape { get; init; }

    /// <summary>Tokens before the answer.</summary>
    [JsonPropertyName("context")]
    public required int Context { get; init; }

    /// <summary>Those of them that were filled in, not read.</summary>
    [JsonPropertyName("filled")]
    public required int Filled { get; init; }

    /// <summary>Threads of one run.</summary>
    [JsonPropertyName("threads")]
    public required int Threads { get; init; }

    /// <summary>Sequences of one step.</summary>
    [JsonPropertyName("batch")]
    public int Batch { get; } = 1;

    /// <summary>How the model is run.</summary>
    [JsonPropertyName("format")]
    public required string Format { get; init; }

    /// <summary>Median over the rounds of the stock model's time / this one's, decoding one token.</summary>
    [JsonPropertyName("ratio_vs_stock")]
    public required double RatioVsStock { get; init; }

    /// <summary>Distance of the quartiles of that ratio.</summary>
    [JsonPropertyName("ratio_spread")]
    public required double RatioSpread { get; init; }

    /// <summary>The ratio to reach; null where none was set.</summary>
    [JsonPropertyName("reach")]
    public required double? Reach { get; init; }

    /// <summary>The ratio if attention took only the time of reading the cache from memory once: what the weights leave to be won.</summary>
    [JsonPropertyName("roofline_ratio")]
    public required double RooflineRatio { get; init; }

    /// <summary>Bytes of the cache over those of an unpruned 16-bit one.</summary>
    [JsonPropertyName("bytes_vs_dense16")]
    public required double BytesVsDense16 { get; init; }

    /// <summary>Bytes of the cache over the time that attention takes of a token, in 10⁹ bytes a second; null where that is lost in the noise.</summary>
    [JsonPropertyName("gbps")]
    public required double? Gbps { get; init; }

    /// <summary>1 / the median time of a token.</summary>
    [JsonPropertyName("tokens_per_s")]
    public required double TokensPerSecond { get; init; }

    /// <summary>Median time of a token with next to no context: the weights alone.</summary>
    [JsonPropertyName("weights_s")]
    public required double WeightsSeconds { get; init; }

    /// <summary>The rest of the median time of a token.</summary>
    [JsonPropertyName("attention_s")]
    public required double AttentionSeconds { get; init; }

    /// <summary>Time to the first token: that of reading, in chunks, what was not filled in.</summary>
    [JsonPropertyName("ttft_s")]
    public required double FirstTokenSeconds { get; init; }

    /// <summary>The stock model's time to the first token / this one's.</summary>
    [JsonPropertyName("ttft_ratio_vs_stock")]
    public required double FirstTokenRatioVsStock { get; init; }

    /// <summary>Processor time, over all threads, of compressing what was filled in; null where nothing was.</summary>
    [JsonPropertyName("seal_s")]
    public required double? SealSeconds { get; init; }

    /// <summary>Answer tokens that are those of the stock model, up to the first other one.</summary>
    [JsonPropertyName("equal_tokens")]
    public required int EqualTokens { get; init; }

    /// <summary>What the machine reads from memory with these threads, in 10⁹ bytes a second.</summary>
    [JsonPropertyName("read_gbps")]
    public required double ReadGbps { get; init; }

    [JsonIgnore]
    public double LowerQuartile { get; init; }

    [JsonIgnore]
    public double UpperQuartile { get; init; }
}
