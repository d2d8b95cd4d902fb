namespace KvPrune.ModelBuilder;

/// <summary>How far a build has come.</summary>
/// <param name="Tensor">The tensor that was written last, by its name in the source.</param>
/// <param name="Weights">Number of weights written so far.</param>
/// <param name="TotalWeights">Number of weights to write; a matrix that is stored in two forms counts twice.</param>
public readonly record struct BuildProgress(string Tensor, long Weights, long TotalWeights);
