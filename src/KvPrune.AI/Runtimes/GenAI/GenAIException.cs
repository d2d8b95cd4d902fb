namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>A call of ONNX Runtime GenAI's native library failed; the message is the library's.</summary>
public sealed class GenAIException : Exception
{
    /// <summary>A failure with the library's message.</summary>
    public GenAIException(string message)
        : base(message) { }
}
