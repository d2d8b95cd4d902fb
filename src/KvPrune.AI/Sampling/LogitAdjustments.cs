using System.Runtime.InteropServices;

namespace KvPrune.AI.Sampling;

/// <summary>
/// Changes the logits of one answer before a token is drawn: the repetition penalty, then the frequency and presence
/// penalties, then the logit bias.
/// </summary>
internal sealed class LogitAdjustments
{
    private readonly float _repetition;
    private readonly float _frequency;
    private readonly float _presence;
    private readonly IReadOnlyDictionary<int, float> _bias;
    private readonly HashSet<int> _seen = [];
    private readonly Dictionary<int, int> _drawn = [];
    private readonly bool _isNeutral;
    private float[] _logits = [];

    /// <param name="options">Validated options.</param>
    /// <param name="prompt">Tokens that the repetition penalty counts as said before.</param>
    public LogitAdjustments(SamplingOptions options, ReadOnlySpan<int> prompt)
    {
        _repetition = options.RepetitionPenalty ?? 1;
        _frequency = options.FrequencyPenalty ?? 0;
        _presence = options.PresencePenalty ?? 0;
        _bias = options.LogitBias ?? new Dictionary<int, float>();
        _isNeutral = _repetition == 1 && _frequency == 0 && _presence == 0 && _bias.Count == 0;
        if (_repetition == 1) return;
        foreach (int token in prompt) _seen.Add(token);
    }

    /// <summary>The logits [vocabulary] to draw from; the given ones are not changed. Valid until the next call.</summary>
    public ReadOnlySpan<float> Apply(ReadOnlySpan<float> logits)
    {
        if (_isNeutral) return logits;
        if (_logits.Length < logits.Length) _logits = new float[logits.Length];
        Span<float> adjusted = _logits.AsSpan(0, logits.Length);
        logits.CopyTo(adjusted);
        foreach (int token in _seen)
        {
            float logit = adjusted[token];
            adjusted[token] = logit < 0 ? logit * _repetition : logit / _repetition;
        }
        foreach ((int token, int count) in _drawn) adjusted[token] -= (_frequency * count) + _presence;
        foreach ((int token, float bias) in _bias) adjusted[token] += bias;
        return adjusted;
    }

    /// <summary>Counts a token that was drawn.</summary>
    public void Add(int token)
    {
        if (_isNeutral) return;
        if (_repetition != 1) _seen.Add(token);
        CollectionsMarshal.GetValueRefOrAddDefault(_drawn, token, out _)++;
    }
}
