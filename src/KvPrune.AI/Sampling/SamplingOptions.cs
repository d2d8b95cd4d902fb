namespace KvPrune.AI.Sampling;

/// <summary>How the next token is drawn.</summary>
/// <remarks>
/// In a request each value left null is the one of the model folder's <c>search</c> entry if that turns sampling on
/// (do_sample). Over a greedy folder a request that sets Temperature, TopK, TopP or MinP samples with temperature 1 and
/// all tokens where it leaves these null; one that sets none of them is greedy. Penalties and bias change what is likely
/// in either case.
/// </remarks>
public sealed record SamplingOptions
{
    /// <summary>Divides the logits; at least 0. 0 is greedy decoding.</summary>
    public float? Temperature { get; init; }

    /// <summary>Keeps the K most likely tokens; at least 1. 1 is greedy decoding.</summary>
    public int? TopK { get; init; }

    /// <summary>Keeps the fewest most likely tokens whose probabilities sum to at least P, 0 &lt; P ≤ 1.</summary>
    public float? TopP { get; init; }

    /// <summary>Keeps the tokens at least P times as likely as the most likely one, 0 ≤ P ≤ 1. 0 keeps all.</summary>
    public float? MinP { get; init; }

    /// <summary>
    /// Divides the positive logits, and multiplies the negative ones, of tokens that prompt or answer hold; above 0, 1
    /// changes nothing (Keskar et al. 2019, CTRL, section 4.1, in the form of Hugging Face's implementation).
    /// </summary>
    public float? RepetitionPenalty { get; init; }

    /// <summary>Taken off a token's logit once for each time that the answer holds it; 0 changes nothing (OpenAI's meaning).</summary>
    public float? FrequencyPenalty { get; init; }

    /// <summary>Taken off the logit of every token that the answer holds; 0 changes nothing (OpenAI's meaning).</summary>
    public float? PresencePenalty { get; init; }

    /// <summary>Added to the logits of single tokens, by token id. Negative infinity forbids a token.</summary>
    public IReadOnlyDictionary<int, float>? LogitBias { get; init; }

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
        if (MinP is { } minP && !(minP >= 0 && minP <= 1))
            throw new ArgumentException($"MinP is {minP}; it must be at least 0 and at most 1.");
        if (RepetitionPenalty is { } repetition && !(float.IsFinite(repetition) && repetition > 0))
            throw new ArgumentException($"RepetitionPenalty is {repetition}; it must be a finite number above 0, and 1 changes nothing.");
        if (FrequencyPenalty is { } frequency && !float.IsFinite(frequency))
            throw new ArgumentException($"FrequencyPenalty is {frequency}; it must be a finite number, and 0 changes nothing.");
        if (PresencePenalty is { } presence && !float.IsFinite(presence))
            throw new ArgumentException($"PresencePenalty is {presence}; it must be a finite number, and 0 changes nothing.");
        foreach ((int token, float bias) in LogitBias ?? new Dictionary<int, float>())
        {
            if (token < 0 || float.IsNaN(bias) || float.IsPositiveInfinity(bias))
                throw new ArgumentException($"LogitBias gives token {token} the bias {bias}; ids are at least 0, and a bias is a finite number or negative infinity.");
        }
        if (TopP is { } topP && !(topP > 0 && topP <= 1))
            throw new ArgumentException($"TopP is {topP}; it must be above 0 and at most 1.");
    }
}
