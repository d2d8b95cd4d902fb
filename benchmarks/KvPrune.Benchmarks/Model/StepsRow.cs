using System.Text.Json.Serialization;

namespace KvPrune.Benchmarks.Model;

/// <summary>How even the steps of one answer are.</summary>
internal sealed record StepsRow
{
    /// <summary>The benchmark: steps.</summary>
    [JsonPropertyName("bench")]
    public string Bench { get; } = "steps";

    /// <summary>Name of the model folder.</summary>
    [JsonPropertyName("shape")]
    public required string Shape { get; init; }

    /// <summary>Tokens before the answer.</summary>
    [JsonPropertyName("context")]
    public required int Context { get; init; }

    /// <summary>Threads of one run.</summary>
    [JsonPropertyName("threads")]
    public required int Threads { get; init; }

    /// <summary>Sequences of one step.</summary>
    [JsonPropertyName("batch")]
    public int Batch { get; } = 1;

    /// <summary>How the model is run.</summary>
    [JsonPropertyName("format")]
    public required string Format { get; init; }

    /// <summary>Number of steps.</summary>
    [JsonPropertyName("steps")]
    public required int Steps { get; init; }

    /// <summary>Median time of a step.</summary>
    [JsonPropertyName("median_ms")]
    public required double MedianMilliseconds { get; init; }

    /// <summary>99th percentile / median.</summary>
    [JsonPropertyName("p99_vs_median")]
    public required double P99VsMedian { get; init; }

    /// <summary>Longest step / median.</summary>
    [JsonPropertyName("max_vs_median")]
    public required double MaxVsMedian { get; init; }

    /// <summary>What the longest step / median is meant to stay under; null for the stock model.</summary>
    [JsonPropertyName("reach")]
    public required double? Reach { get; init; }
}
