namespace KvPrune.AI.Sampling;

/// <summary>Draws the tokens of one answer.</summary>
internal interface ITokenSampler
{
    /// <summary>Draws one token from the logits [vocabulary].</summary>
    /// <exception cref="Engine.GenerationException">The logits cannot be drawn from.</exception>
    int Sample(ReadOnlySpan<float> logits);
}
