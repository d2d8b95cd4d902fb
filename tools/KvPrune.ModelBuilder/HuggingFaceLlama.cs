using KvPrune.ModelBuilder.HuggingFace;
using KvPrune.ModelBuilder.Onnx;

namespace KvPrune.ModelBuilder;

/// <summary>Turns a Hugging Face Llama checkpoint into a model folder for ONNX Runtime GenAI.</summary>
public static class HuggingFaceLlama
{
    private static readonly string[] TokenizerFiles =
        ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"];

    /// <summary>
    /// Reads config.json, generation_config.json, model.safetensors and the tokenizer files of <paramref name="checkpoint"/> and
    /// writes <paramref name="folder"/>. Holds one tensor in memory at a time.
    /// </summary>
    /// <exception cref="ModelSourceException">A source file is missing, broken or not supported.</exception>
    /// <exception cref="IOException">The output folder is not empty (unless <paramref name="overwrite"/>) or cannot be written.</exception>
    public static void Build(
        string checkpoint,
        string folder,
        WeightPrecision precision = WeightPrecision.Fp32,
        bool overwrite = false,
        IProgress<BuildProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(checkpoint);
        ArgumentException.ThrowIfNullOrEmpty(folder);
        if (!Directory.Exists(checkpoint))
            throw new ModelSourceException(checkpoint, null, "the folder does not exist.");

        var config = LlamaConfig.Load(checkpoint);
        foreach (var required in TokenizerFiles.Take(2))
            JsonFile.Load(Path.Combine(checkpoint, required));
        using var weights = CheckpointWeights.Open(checkpoint, config.Shape);
        OutputFolder.Write(folder, overwrite, temporary =>
        {
            LlamaGraph.Write(temporary, config.Shape, precision, weights, progress, cancellationToken);
            GenAIConfigFile.Write(temporary, config.Shape, config.Tokens, config.Search);
            // Bytes only: File.Copy would also take over a read-only mode.
            foreach (var file in TokenizerFiles.Where(f => File.Exists(Path.Combine(checkpoint, f))))
                File.WriteAllBytes(Path.Combine(temporary, file), File.ReadAllBytes(Path.Combine(checkpoint, file)));
        });
    }
}
