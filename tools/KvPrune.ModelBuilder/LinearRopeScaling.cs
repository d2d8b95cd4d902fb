namespace KvPrune.ModelBuilder;

/// <summary>Divides every frequency.</summary>
/// <param name="Factor">The divisor; above 0.</param>
public sealed record LinearRopeScaling(double Factor) : RopeScaling;
