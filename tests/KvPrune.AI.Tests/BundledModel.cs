using System.Reflection;
using System.Text.Json;
using KvPrune.AI.Models;
using KvPrune.AI.Runtimes;

namespace KvPrune.AI.Tests;

/// <summary>The model that comes with the repository.</summary>
internal static class BundledModel
{
    private static readonly Lazy<Reference> LazyReference = new(ReadReference);

    public static string Folder { get; } = Path.Combine(
        typeof(BundledModel).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "RepositoryRoot").Value!,
        "models", "tiny-retrieval-llama");

    /// <summary>A prompt with the logits that another implementation computed after it.</summary>
    public static Reference ReferencePrompt => LazyReference.Value;

    public static OnnxRuntimeDecoder LoadDecoder() => OnnxRuntimeDecoder.Load(GenAIModelFolder.Load(Folder), kvByteLimit: null, threads: 1);

    private static Reference ReadReference()
    {
        using JsonDocument json = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Folder, "reference", "reference_logits.json")));
        return new Reference(
            [.. json.RootElement.GetProperty("input_ids").EnumerateArray().Select(id => id.GetInt32())],
            [.. json.RootElement.GetProperty("last_position_logits").EnumerateArray().Select(logit => logit.GetSingle())]);
    }

    internal sealed record Reference(int[] Tokens, float[] Logits);
}
