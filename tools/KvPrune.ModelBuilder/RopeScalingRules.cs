namespace KvPrune.ModelBuilder;

/// <summary>What a <see cref="RopeScaling"/> has to fulfil, and the frequencies and magnitudes that it gives.</summary>
internal static class RopeScalingRules
{
    // LongRoPE's tables lie inside model.onnx, which cannot have more than 2 GB.
    private const long MostTableBytes = 1L << 30;

    /// <exception cref="ArgumentException">A value is out of range or does not fit the shape.</exception>
    public static void Validate(ModelShape shape)
    {
        switch (shape.RopeScaling)
        {
            case LinearRopeScaling linear:
                Positive(linear.Factor, nameof(linear.Factor));
                break;
            case Llama3RopeScaling llama:
                Positive(llama.Factor, nameof(llama.Factor));
                Positive(llama.LowFrequencyFactor, nameof(llama.LowFrequencyFactor));
                Positive(llama.HighFrequencyFactor, nameof(llama.HighFrequencyFactor));
                Positive(llama.OriginalContext, nameof(llama.OriginalContext));
                if (llama.HighFrequencyFactor <= llama.LowFrequencyFactor)
                {
                    throw new ArgumentException(
                        $"RopeScaling: HighFrequencyFactor {llama.HighFrequencyFactor} is not above LowFrequencyFactor {llama.LowFrequencyFactor}.");
                }

                break;
            case LongRopeScaling rope:
                Factors(rope.ShortFactors, nameof(rope.ShortFactors), shape);
                Factors(rope.LongFactors, nameof(rope.LongFactors), shape);
                Positive(rope.ShortMagnitude ?? 1, nameof(rope.ShortMagnitude));
                Positive(rope.LongMagnitude ?? 1, nameof(rope.LongMagnitude));
                // ln 1 = 0 would divide the magnitude.
                if (rope.OriginalContext < 2 || rope.OriginalContext > shape.ContextLength)
                {
                    throw new ArgumentException(
                        $"RopeScaling: OriginalContext {rope.OriginalContext} is not between 2 and ContextLength {shape.ContextLength}.");
                }

                if (((long)shape.ContextLength + rope.OriginalContext) * shape.RotarySize * sizeof(float) > MostTableBytes)
                {
                    throw new ArgumentException(
                        $"ContextLength {shape.ContextLength} with LongRopeScaling asks for rotary tables of more than {MostTableBytes} bytes.");
                }

                break;
        }
    }

    /// <summary>The angle per token of each rotated pair.</summary>
    /// <param name="shape">The model.</param>
    /// <param name="pastOriginalContext">With LongRoPE: the set for sequences past the original context.</param>
    public static double[] Frequencies(ModelShape shape, bool pastOriginalContext = false)
    {
        var frequencies = new double[shape.RotarySize / 2];
        for (var i = 0; i < frequencies.Length; i++)
        {
            var plain = Math.Pow(shape.RopeTheta, -2.0 * i / shape.RotarySize);
            frequencies[i] = shape.RopeScaling switch
            {
                LinearRopeScaling linear => plain / linear.Factor,
                Llama3RopeScaling llama => Llama3(plain, llama),
                LongRopeScaling rope => plain / (pastOriginalContext ? rope.LongFactors : rope.ShortFactors)[i],
                _ => plain,
            };
        }

        return frequencies;
    }

    /// <summary>The factor of LongRoPE's cosines and sines.</summary>
    public static double Magnitude(ModelShape shape, LongRopeScaling rope, bool pastOriginalContext) =>
        (pastOriginalContext ? rope.LongMagnitude : rope.ShortMagnitude)
        ?? Math.Sqrt(1 + (Math.Log((double)shape.ContextLength / rope.OriginalContext) / Math.Log(rope.OriginalContext)));

    private static double Llama3(double frequency, Llama3RopeScaling llama)
    {
        var turns = llama.OriginalContext * frequency / (2 * Math.PI);
        var kept = Math.Clamp(
            (turns - llama.LowFrequencyFactor) / (llama.HighFrequencyFactor - llama.LowFrequencyFactor), 0, 1);
        return ((1 - kept) * frequency / llama.Factor) + (kept * frequency);
    }

    private static void Factors(IReadOnlyList<double> factors, string name, ModelShape shape)
    {
        if (factors.Count != shape.RotarySize / 2)
        {
            throw new ArgumentException(
                $"RopeScaling: {name} has {factors.Count} entries; HeadSize {shape.HeadSize} and PartialRotaryFactor "
                + $"{shape.PartialRotaryFactor} ask for {shape.RotarySize / 2}.");
        }

        foreach (var factor in factors)
            Positive(factor, name);
    }

    private static void Positive(double value, string name)
    {
        if (!double.IsFinite(value) || value <= 0)
            throw new ArgumentException($"RopeScaling: {name} is {value}; it has to be a positive number.");
    }
}
