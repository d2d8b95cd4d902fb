using System.Numerics.Tensors;
using KvPrune.AI.Engine;

namespace KvPrune.AI.Sampling;

/// <summary>
/// Draws tokens for one answer: temperature, then top-k, top-p and min-p (the order of Hugging Face's logits warpers).
/// Among equal logits the lower token id comes first, so a result never depends on how candidates were sorted.
/// </summary>
internal sealed class TokenSampler : ITokenSampler
{
    private readonly float _temperature;
    private readonly int _topK;
    private readonly float _topP;
    private readonly float _minP;
    private readonly bool _greedy;
    private readonly Random _random;
    private readonly PriorityQueue<ulong, ulong> _best = new();
    private ulong[] _candidates = [];
    private float[] _weights = [];

    public TokenSampler(SamplingOptions options)
    {
        options.Validate();
        _greedy = options.IsGreedy;
        _temperature = options.Temperature ?? 1;
        _topK = options.TopK ?? int.MaxValue;
        _topP = options.TopP ?? 1;
        _minP = options.MinP ?? 0;
        _random = options.Seed is { } seed ? new Random(Fold(seed)) : new Random();
    }

    /// <inheritdoc/>
    /// <exception cref="GenerationException">The logits hold NaN, or their maximum is not finite.</exception>
    public int Sample(ReadOnlySpan<float> logits)
    {
        // IndexOfMax reports the first NaN if there is one, so one pass finds the maximum and checks all logits.
        int best = TensorPrimitives.IndexOfMax(logits);
        if (best < 0 || !float.IsFinite(logits[best]))
        {
            throw new GenerationException(best < 0
                ? "The model returned no logits."
                : $"The model's logits cannot be sampled: the logit of token {best} is {logits[best]}.");
        }
        return _greedy ? best : Draw(logits, logits[best]);
    }

    private int Draw(ReadOnlySpan<float> logits, float max)
    {
        if (_candidates.Length < logits.Length) _candidates = new ulong[logits.Length];
        bool topK = _topK < logits.Length;
        double total = 0; // of all weights that top-p refers to
        Span<ulong> candidates = topK ? SelectTopK(logits)
            : _topP < 1 ? SelectForNucleus(logits, max, out total)
            : SelectAll(logits);
        Span<float> weights = Weigh(candidates, logits, max);
        if (topK || _topP >= 1) total = Sum(weights);
        if (_topP < 1) total = KeepNucleus(ref candidates, weights, total * _topP);
        if (_minP > 0) total = DropUnlikely(weights[..candidates.Length]);

        double left = _random.NextDouble() * total;
        for (int i = 0; i < candidates.Length; i++)
        {
            left -= weights[i];
            if (left < 0) return TokenOf(candidates[i]);
        }
        return TokenOf(candidates[^1]); // rounding left a rest
    }

    private Span<ulong> SelectAll(ReadOnlySpan<float> logits)
    {
        for (int i = 0; i < logits.Length; i++) _candidates[i] = Key(logits[i], i);
        return _candidates.AsSpan(0, logits.Length);
    }

    /// <summary>
    /// The tokens that can be in the nucleus, most likely first. Tokens less likely than (1 − p)/V weigh less than
    /// 1 − p together, so none of them is in it: this spares sorting the whole vocabulary.
    /// </summary>
    private Span<ulong> SelectForNucleus(ReadOnlySpan<float> logits, float max, out double total)
    {
        Span<float> weights = WeightBuffer(logits.Length);
        TensorPrimitives.Subtract(logits, max, weights);
        TensorPrimitives.Divide(weights, _temperature, weights);
        TensorPrimitives.Exp(weights, weights);
        total = Sum(weights);
        double floor = total * (1 - _topP) / logits.Length;
        int count = 0;
        for (int i = 0; i < logits.Length; i++)
        {
            if (weights[i] >= floor) _candidates[count++] = Key(logits[i], i);
        }
        Span<ulong> kept = _candidates.AsSpan(0, count);
        kept.Sort();
        return kept;
    }

    private Span<ulong> SelectTopK(ReadOnlySpan<float> logits)
    {
        // The heap's head is the worst token kept: priorities are inverted keys.
        _best.Clear();
        for (int i = 0; i < logits.Length; i++)
        {
            ulong key = Key(logits[i], i);
            if (_best.Count < _topK) _best.Enqueue(key, ~key);
            else if (key < _best.Peek()) _best.EnqueueDequeue(key, ~key);
        }
        int count = _best.Count;
        for (int i = count - 1; i >= 0; i--) _candidates[i] = _best.Dequeue();
        return _candidates.AsSpan(0, count);
    }

    private Span<float> Weigh(ReadOnlySpan<ulong> candidates, ReadOnlySpan<float> logits, float max)
    {
        Span<float> weights = WeightBuffer(candidates.Length);
        for (int i = 0; i < candidates.Length; i++) weights[i] = (logits[TokenOf(candidates[i])] - max) / _temperature;
        TensorPrimitives.Exp(weights, weights);
        return weights;
    }

    /// <summary>Shortens the candidates to the nucleus and returns its weight.</summary>
    private static double KeepNucleus(ref Span<ulong> candidates, ReadOnlySpan<float> weights, double wanted)
    {
        double sum = 0;
        for (int i = 0; i < candidates.Length; i++)
        {
            sum += weights[i];
            if (sum >= wanted)
            {
                candidates = candidates[..(i + 1)];
                break;
            }
        }
        return sum;
    }

    /// <summary>Weighs tokens below min-p with 0 and returns the weight of the others; the most likely token weighs 1.</summary>
    private double DropUnlikely(Span<float> weights)
    {
        foreach (ref float weight in weights)
        {
            if (weight < _minP) weight = 0;
        }
        return Sum(weights);
    }

    /// <summary>All 64 bits of a seed in 32: the high half of its product with 2^64 / golden ratio.</summary>
    private static int Fold(long seed) => unchecked((int)(((ulong)seed * 0x9E37_79B9_7F4A_7C15) >> 32));

    private static double Sum(ReadOnlySpan<float> weights)
    {
        double sum = 0;
        foreach (float weight in weights) sum += weight;
        return sum;
    }

    private Span<float> WeightBuffer(int length)
    {
        if (_weights.Length < length) _weights = new float[length];
        return _weights.AsSpan(0, length);
    }

    /// <summary>Sorts by falling logit, then by rising token id, as a plain integer.</summary>
    private static ulong Key(float logit, int token)
    {
        uint bits = BitConverter.SingleToUInt32Bits(logit + 0f); // −0 becomes +0, their order must be that of the ids
        uint rising = (bits & 0x8000_0000) != 0 ? ~bits : bits | 0x8000_0000;
        return ((ulong)~rising << 32) | (uint)token;
    }

    private static int TokenOf(ulong key) => (int)(uint)key;
}
