using KvPrune.ModelBuilder.HuggingFace;

namespace KvPrune.ModelBuilder;

/// <summary>Turns a Hugging Face checkpoint into a model folder for ONNX Runtime GenAI.</summary>
public static class HuggingFaceModel
{
    private static readonly string[] TokenizerFiles =
        ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"];

    /// <summary>
    /// Reads config.json, generation_config.json, model.safetensors (or its shards) and the tokenizer files of
    /// <paramref name="checkpoint"/> and writes <paramref name="folder"/>. Holds a block of one tensor in memory at a time. A build
    /// that was cut off goes on where it was.
    /// </summary>
    /// <param name="checkpoint">The checkpoint's folder.</param>
    /// <param name="folder">The folder to write.</param>
    /// <param name="options">Precision and form of the graph; fp32 with packed QKV when null.</param>
    /// <param name="progress">Is told of every tensor.</param>
    /// <param name="cancellationToken">Stops between two blocks of a tensor.</param>
    /// <exception cref="ArgumentException">The options do not go with the model.</exception>
    /// <exception cref="ModelSourceException">A source file is missing, broken or not supported.</exception>
    /// <exception cref="IOException">The output folder is not empty (unless overwriting) or cannot be written.</exception>
    public static void Build(
        string checkpoint,
        string folder,
        BuildOptions? options = null,
        IProgress<BuildProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(checkpoint);
        ArgumentException.ThrowIfNullOrEmpty(folder);
        options ??= new BuildOptions();
        if (!Directory.Exists(checkpoint))
            throw new ModelSourceException(checkpoint, null, "the folder does not exist.");

        var (shape, settings) = ModelConfig.Load(checkpoint);
        options.Validate(shape);
        foreach (var required in TokenizerFiles.Take(2))
            JsonFile.Load(Path.Combine(checkpoint, required));
        using var weights = CheckpointWeights.Open(checkpoint, shape);
        ModelFolder.Write(folder, shape, options, settings, weights, weights.Fingerprint(), CopyTokenizer, progress, cancellationToken);

        // Bytes only: File.Copy would also take over a read-only mode.
        void CopyTokenizer(string target)
        {
            foreach (var file in TokenizerFiles.Where(f => File.Exists(Path.Combine(checkpoint, f))))
                File.WriteAllBytes(Path.Combine(target, file), File.ReadAllBytes(Path.Combine(checkpoint, file)));
        }
    }
}
