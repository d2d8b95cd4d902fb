namespace KvPrune.OnnxOps;

/// <summary>Bytes that one sequence takes, known before it is read.</summary>
/// <param name="ResidentBytes">After the prompt and the generated tokens.</param>
/// <param name="PrefillPeakBytes">The most it takes while the prompt is read.</param>
public readonly record struct KvBytesEstimate(long ResidentBytes, long PrefillPeakBytes);
