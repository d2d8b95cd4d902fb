using KvPrune.ModelBuilder.Onnx;
using KvPrune.ModelBuilder.Synthetic;

namespace KvPrune.ModelBuilder;

/// <summary>Makes model folders with random weights, for tests and benchmarks of any shape.</summary>
public static class RandomLlama
{
    /// <summary>The smallest <see cref="LlamaShape.Vocabulary"/> that a random model can have: 256 bytes and the special tokens.</summary>
    public static int SmallestVocabulary => ByteTokenizerFiles.SmallestVocabulary;

    /// <summary>Writes a model folder; the same shape, precision and seed give the same bytes.</summary>
    /// <exception cref="ArgumentException">The sizes do not fit one another; the message names them.</exception>
    /// <exception cref="IOException">The output folder is not empty (unless <paramref name="overwrite"/>) or cannot be written.</exception>
    public static void Build(
        string folder,
        LlamaShape shape,
        int seed,
        WeightPrecision precision = WeightPrecision.Fp32,
        bool overwrite = false,
        IProgress<BuildProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(shape);
        shape.Validate();
        if (shape.Vocabulary < SmallestVocabulary)
        {
            throw new ArgumentException(
                $"{nameof(LlamaShape.Vocabulary)} {shape.Vocabulary} is too small; bytes and special tokens take {SmallestVocabulary}.",
                nameof(shape));
        }

        var weights = new RandomWeights(seed);
        OutputFolder.Write(folder, overwrite, temporary =>
        {
            LlamaGraph.Write(temporary, shape, precision, weights, progress, cancellationToken);
            GenAIConfigFile.Write(temporary, shape, ByteTokenizerFiles.Tokens(shape.Vocabulary), SearchSettings.Default);
            ByteTokenizerFiles.Write(temporary, shape.Vocabulary, shape.ContextLength);
        });
    }
}
