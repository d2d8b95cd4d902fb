namespace KvPrune.Eval.Results;

/// <summary>Some steps of a continuation.</summary>
/// <param name="First">How many tokens had been generated before the first of them.</param>
/// <param name="Tokens">Steps.</param>
/// <param name="Divergence">Sum of the Kullback-Leibler divergences from the baseline's distributions, in nats.</param>
/// <param name="SameChoice">At how many steps the likeliest token is the baseline's.</param>
internal sealed record DriftBucket(int First, int Tokens, double Divergence, int SameChoice);
