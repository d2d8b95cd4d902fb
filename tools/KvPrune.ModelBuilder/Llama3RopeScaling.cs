namespace KvPrune.ModelBuilder;

/// <summary>
/// Llama 3.1's scaling: wavelengths below <c>OriginalContext / HighFrequencyFactor</c> stay, those above
/// <c>OriginalContext / LowFrequencyFactor</c> grow by the factor, and between the two the frequencies are interpolated.
/// </summary>
/// <param name="Factor">The factor of the long wavelengths.</param>
/// <param name="LowFrequencyFactor">Wavelengths that fit less often into the original context are scaled in full.</param>
/// <param name="HighFrequencyFactor">Wavelengths that fit more often into the original context are not scaled.</param>
/// <param name="OriginalContext">The context of the first training in tokens.</param>
public sealed record Llama3RopeScaling(double Factor, double LowFrequencyFactor, double HighFrequencyFactor, int OriginalContext)
    : RopeScaling;
