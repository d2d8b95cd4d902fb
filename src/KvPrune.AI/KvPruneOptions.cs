using KvPrune.OnnxOps;

namespace KvPrune.AI;

/// <summary>Settings of a chat client over one model folder.</summary>
public sealed class KvPruneOptions
{
    /// <summary>A model folder in ONNX Runtime GenAI's format: genai_config.json, the ONNX files, tokenizer.json. Required.</summary>
    public string? ModelPath { get; set; }

    /// <summary>The model's name in responses and telemetry; the folder's name by default.</summary>
    public string? ModelId { get; set; }

    /// <summary>What runs the model.</summary>
    public DecoderRuntimeKind Runtime { get; set; }

    /// <summary>
    /// The folder of ONNX Runtime GenAI's native library, for <see cref="DecoderRuntimeKind.GenAI"/>. Null: the one that
    /// the package Microsoft.ML.OnnxRuntimeGenAI or Microsoft.ML.OnnxRuntimeGenAI.Cuda brings.
    /// </summary>
    public string? GenAILibraryFolder { get; set; }

    /// <summary>What is kept of prompts and answers in the KV cache, unless a request says otherwise.</summary>
    /// <remarks>
    /// A policy with <see cref="PruningPolicy.NeedsDeferredSegment"/> (KVzip, global head budgets) evicts tokens of what comes
    /// first only: the shared document, else the conversation's first prompt. What follows keeps its tokens. While the document
    /// is read, all layers are uncompressed, in 32 bits. KVzip reads it twice, the second time after its end, so the context
    /// needs room for a part of it, at best <see cref="PrefillChunkTokens"/>.
    /// </remarks>
    public PruningPolicy Policy { get; set; } = PruningPolicy.Compact;

    /// <summary>
    /// The most bytes of KV cache over all requests and cached prompts. Requests that do not fit wait; one that never can
    /// is refused. Null: no limit.
    /// </summary>
    public long? KvCacheByteLimit { get; set; }

    /// <summary>
    /// The most prompt tokens in one run of the model. Between two runs other requests get their next token and
    /// cancellation is noticed; fewer tokens a run read a prompt more slowly.
    /// </summary>
    public int PrefillChunkTokens { get; set; } = 512;

    /// <summary>The most tokens of an answer for requests without ChatOptions.MaxOutputTokens.</summary>
    public int MaxOutputTokens { get; set; } = 1024;

    /// <summary>
    /// Threads that one run of the model uses. Null: one for each physical core, unless the runtime is
    /// <see cref="DecoderRuntimeKind.GenAI"/> and the folder's session_options name another number.
    /// </summary>
    public int? Threads { get; set; }

    /// <summary>
    /// Prompts and shared documents whose KV cache is kept, so that a follow-up question, another question about the document
    /// or an equal prompt does not read them again; the least recently used one goes first. 0 keeps none.
    /// </summary>
    public int MaxCachedPrompts { get; set; } = 4;
}
