using KvPrune.AI.Models;

namespace KvPrune.AI;

/// <summary>Looks at model folders without loading them.</summary>
public static class KvPruneModel
{
    /// <summary>
    /// Reads configuration, graph, tokenizer and chat template of a folder in ONNX Runtime GenAI's format, and says what
    /// would be rewritten, what its KV cache would take and what stands in the way. Weights are not read.
    /// </summary>
    /// <exception cref="ArgumentException"><paramref name="folder"/> is null or empty.</exception>
    /// <exception cref="DllNotFoundException">The native library is missing or does not load.</exception>
    public static ModelInspection Inspect(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        return new FolderInspector(Path.GetFullPath(folder)).Inspect();
    }
}
