using System.Security.Cryptography;
using System.Text.Json;
using KvPrune.ModelBuilder.Onnx;

namespace KvPrune.ModelBuilder;

/// <summary>Writes a complete model folder: tokenizer files, genai_config.json, weights, and the graph last.</summary>
internal static class ModelFolder
{
    // Part of what identifies a build: a partial folder of another version of this program is not gone on with.
    private const int Format = 1;

    /// <param name="folder">The folder to write.</param>
    /// <param name="shape">Architecture and sizes, validated.</param>
    /// <param name="options">Precision and form of the graph, validated.</param>
    /// <param name="settings">What genai_config.json says beyond the sizes.</param>
    /// <param name="weights">The weights.</param>
    /// <param name="source">Identifies the weights: the same text, the same weights.</param>
    /// <param name="writeTokenizer">Writes the tokenizer files into the folder named.</param>
    /// <param name="progress">Is told of every tensor.</param>
    /// <param name="cancellation">Stops between two blocks of a tensor.</param>
    /// <param name="limits">The usual ones when null.</param>
    public static void Write(
        string folder,
        ModelShape shape,
        BuildOptions options,
        ModelSettings settings,
        IWeightSource weights,
        string source,
        Action<string> writeTokenizer,
        IProgress<BuildProgress>? progress,
        CancellationToken cancellation,
        WriteLimits? limits = null)
    {
        var build = Convert.ToHexString(SHA256.HashData(JsonSerializer.SerializeToUtf8Bytes(
            new { Format, shape, options.Precision, options.BlockSize, options.Attention, source })));
        OutputFolder.Write(folder, options.Overwrite, build, (temporary, journal) =>
        {
            writeTokenizer(temporary);
            GenAIConfigFile.Write(temporary, shape, options, settings);
            DecoderGraph.Write(temporary, shape, options, weights, journal, limits ?? new WriteLimits(), progress, cancellation);
        });
    }
}
