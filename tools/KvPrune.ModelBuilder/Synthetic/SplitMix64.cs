namespace KvPrune.ModelBuilder.Synthetic;

/// <summary>
/// Steele, Lea and Flood's SplitMix64: eight bytes of state and the same numbers on every platform and .NET version, which
/// <see cref="System.Random"/> does not promise.
/// </summary>
internal struct SplitMix64(ulong seed)
{
    private const ulong Step = 0x9E3779B97F4A7C15;

    private ulong _state = seed;

    /// <summary>Passes over numbers without drawing them.</summary>
    public void Skip(ulong count) => _state = unchecked(_state + (count * Step));

    public ulong Next()
    {
        unchecked
        {
            _state += Step;
            var z = _state;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return z ^ (z >> 31);
        }
    }

    /// <summary>A number in [−1, 1), uniform in steps of 2⁻²³.</summary>
    public float NextSigned() => ((Next() >> 40) * (2f / (1 << 24))) - 1;
}
