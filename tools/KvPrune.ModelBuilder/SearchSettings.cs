namespace KvPrune.ModelBuilder;

/// <summary>How tokens are chosen unless a request says otherwise: what genai_config.json has under "search".</summary>
/// <param name="Sample">Draw tokens; otherwise take the most likely one, and the other settings rest.</param>
/// <param name="Temperature">Divides the logits.</param>
/// <param name="TopK">Draws from this many most likely tokens.</param>
/// <param name="TopP">Draws from the most likely tokens that reach this probability together.</param>
/// <param name="RepetitionPenalty">Divides the logits of tokens that were there already; 1 changes nothing.</param>
internal sealed record SearchSettings(bool Sample, double Temperature, int TopK, double TopP, double RepetitionPenalty)
{
    /// <summary>The defaults of Transformers.</summary>
    public static SearchSettings Default { get; } = new(Sample: false, Temperature: 1, TopK: 50, TopP: 1, RepetitionPenalty: 1);
}
