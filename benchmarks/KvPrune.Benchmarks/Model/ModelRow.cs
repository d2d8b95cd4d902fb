using System.Text.Json.Serialization;

namespace KvPrune.Benchmarks.Model;

/// <summary>One result.</summary>
/// <param name="Bench">The benchmark: model.</param>
/// <param name="Shape">Name of the model folder.</param>
/// <param name="Context">Tokens of the prompt.</param>
/// <param name="Threads">Threads of one run.</param>
/// <param name="Batch">Sequences of one step.</param>
/// <param name="Format">How the model is run.</param>
/// <param name="RatioVsStock">Median over the rounds of the stock model's time / this one's, decoding one token.</param>
/// <param name="RatioSpread">Distance of the quartiles of that ratio.</param>
/// <param name="BytesVsDense16">Bytes of the cache over those of an unpruned 16-bit one.</param>
/// <param name="TokensPerSecond">1 / the median time of a token.</param>
/// <param name="PrefillSeconds">Time to read the prompt, in chunks.</param>
/// <param name="PrefillRatioVsStock">The stock model's time / this one's.</param>
/// <param name="EqualTokens">Answer tokens that are those of the stock model, up to the first other one.</param>
internal sealed record ModelRow(
    [property: JsonPropertyName("bench")] string Bench,
    [property: JsonPropertyName("shape")] string Shape,
    [property: JsonPropertyName("context")] int Context,
    [property: JsonPropertyName("threads")] int Threads,
    [property: JsonPropertyName("batch")] int Batch,
    [property: JsonPropertyName("format")] string Format,
    [property: JsonPropertyName("ratio_vs_stock")] double RatioVsStock,
    [property: JsonPropertyName("ratio_spread")] double RatioSpread,
    [property: JsonPropertyName("bytes_vs_dense16")] double BytesVsDense16,
    [property: JsonPropertyName("tokens_per_second")] double TokensPerSecond,
    [property: JsonPropertyName("prefill_seconds")] double PrefillSeconds,
    [property: JsonPropertyName("prefill_ratio_vs_stock")] double PrefillRatioVsStock,
    [property: JsonPropertyName("equal_tokens")] int EqualTokens)
{
    [JsonIgnore]
    public double LowerQuartile { get; init; }

    [JsonIgnore]
    public double UpperQuartile { get; init; }
}
