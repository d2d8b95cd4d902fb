using KvPrune.ModelBuilder.Synthetic;

namespace KvPrune.ModelBuilder;

/// <summary>Makes model folders with random weights, for tests and benchmarks of any shape.</summary>
public static class RandomModel
{
    /// <summary>The smallest <see cref="ModelShape.Vocabulary"/> that a random model can have: 256 bytes and the special tokens.</summary>
    public static int SmallestVocabulary => ByteTokenizerFiles.SmallestVocabulary;

    /// <summary>
    /// Writes a model folder; the same shape, options and seed give the same bytes. A build that was cut off goes on where it was.
    /// </summary>
    /// <param name="folder">The folder to write.</param>
    /// <param name="shape">Architecture and sizes; see <see cref="ModelShapes"/>.</param>
    /// <param name="seed">Chooses the weights.</param>
    /// <param name="options">Precision and form of the graph; fp32 with packed QKV when null.</param>
    /// <param name="progress">Is told of every tensor.</param>
    /// <param name="cancellationToken">Stops between two blocks of a tensor.</param>
    /// <exception cref="ArgumentException">The sizes do not fit one another; the message names them.</exception>
    /// <exception cref="IOException">The output folder is not empty (unless overwriting) or cannot be written.</exception>
    public static void Build(
        string folder,
        ModelShape shape,
        int seed,
        BuildOptions? options = null,
        IProgress<BuildProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(shape);
        options ??= new BuildOptions();
        shape.Validate();
        options.Validate(shape);
        if (shape.Vocabulary < SmallestVocabulary)
        {
            throw new ArgumentException(
                $"{nameof(ModelShape.Vocabulary)} {shape.Vocabulary} is too small; bytes and special tokens take {SmallestVocabulary}.",
                nameof(shape));
        }

        ModelFolder.Write(
            folder,
            shape,
            options,
            new ModelSettings(ByteTokenizerFiles.Tokens(shape.Vocabulary), SearchSettings.Default),
            new RandomWeights(seed, shape.Architecture),
            $"random {seed}",
            temporary => ByteTokenizerFiles.Write(temporary, shape.Vocabulary, shape.ContextLength),
            progress,
            cancellationToken);
    }
}
