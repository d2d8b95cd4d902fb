using KvPrune.OnnxOps;

namespace KvPrune.AI.Models;

/// <summary>What a model folder is, as far as it could be read.</summary>
public sealed record ModelInspection
{
    /// <summary>Full path of the folder.</summary>
    public required string Folder { get; init; }

    /// <summary>What genai_config.json says; null if it cannot be used.</summary>
    public GenAIModelFolder? Configuration { get; init; }

    /// <summary>Heads, layers and longest sequence of the graph; null if it cannot be rewritten.</summary>
    public KvModelShape? Shape { get; init; }

    /// <summary>Names of the attention nodes that would be replaced, in the order of their layers.</summary>
    public IReadOnlyList<string> AttentionNodes { get; init; } = [];

    /// <summary>Bytes of KV cache for 1,000 tokens of a long prompt, by the name of the policy; empty if that is not known.</summary>
    public IReadOnlyDictionary<string, long> KvBytesPer1000Tokens { get; init; } = new Dictionary<string, long>();

    /// <summary>The same for an unpruned cache of 16-bit values.</summary>
    public long DenseKvBytesPer1000Tokens => Shape?.DenseBytes(1000) ?? 0;

    /// <summary>Bytes of the ONNX file and of the files beside it whose names begin with its own, as those of its weights do.</summary>
    public long ModelBytes { get; init; }

    /// <summary>What keeps the model from being run; empty if nothing was found.</summary>
    public required IReadOnlyList<ModelObstacle> Obstacles { get; init; }
}
