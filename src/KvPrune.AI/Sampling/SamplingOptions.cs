namespace KvPrune.AI.Sampling;

/// <summary>How the next token is drawn.</summary>
/// <remarks>
/// In a request each value left null is the one of the model folder's <c>search</c> entry if that turns sampling on
/// (do_sample). Over a greedy folder a request that sets Temperature, TopK or TopP samples with temperature 1 and all
/// tokens where it leaves these null; one that sets none of them is greedy.
/// </remarks>
public sealed record SamplingOptions
{
    /// <summary>Divides the logits; at least 0. 0 is greedy decoding.</summary>
    public float? Temperature { get; init; }

    /// <summary>Keeps the K most likely tokens; at least 1. 1 is greedy decoding.</summary>
    public int? TopK { get; init; }

    /// <summary>Keeps the fewest most likely tokens whose probabilities sum to at least P, 0 &lt; P ≤ 1.</summary>
    public float? TopP { get; init; }

    /// <summary>Makes a sampled answer repeatable: equal seeds, prompts and settings draw equal tokens.</summary>
    public long? Seed { get; init; }

    /// <summary>Greedy decoding: always the most likely token.</summary>
    public static SamplingOptions Greedy { get; } = new() { Temperature = 0 };

    internal bool IsGreedy => Temperature is 0 || TopK is 1;

    /// <summary>Checks the ranges.</summary>
    /// <exception cref="ArgumentException">A value is out of its range; the message names property and value.</exception>
    public void Validate()
    {
        if (Temperature is { } temperature && !(float.IsFinite(temperature) && temperature >= 0))
            throw new ArgumentException($"Temperature is {temperature}; it must be a finite number, at least 0.");
        if (TopK is < 1)
            throw new ArgumentException($"TopK is {TopK}; it must be at least 1.");
        if (TopP is { } topP && !(topP > 0 && topP <= 1))
            throw new ArgumentException($"TopP is {topP}; it must be above 0 and at most 1.");
    }
}
