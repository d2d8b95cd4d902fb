namespace KvPrune.AI.Sampling;

/// <summary>Draws the tokens of one answer within a grammar, whose state it holds until it is disposed.</summary>
internal interface IGuidedSampler : ITokenSampler, IDisposable;
