namespace KvPrune.AI;

/// <summary>What runs the model.</summary>
public enum DecoderRuntimeKind
{
    /// <summary>
    /// <see cref="OnnxRuntime"/>, unless the folder has a tokenizer or a chat template that only GenAI can read and
    /// GenAI is found.
    /// </summary>
    Auto,

    /// <summary>ONNX Runtime alone. Requests are decoded together in one batch.</summary>
    OnnxRuntime,

    /// <summary>
    /// ONNX Runtime GenAI's generator, tokenizer and chat template. Requests are decoded one after the other; response
    /// formats and other grammars are enforced.
    /// </summary>
    GenAI,
}
