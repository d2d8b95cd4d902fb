namespace KvPrune.Eval.Results;

/// <summary>What all measurements of a run depend on.</summary>
/// <param name="Model">The model's identity.</param>
/// <param name="Text">A checksum of the natural text.</param>
/// <param name="Seed">The seed.</param>
internal sealed record RunConditions(string Model, string Text, int Seed);
