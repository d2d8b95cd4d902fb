namespace KvPrune.AI.Engine;

/// <summary>A request needs more KV cache than the engine may ever use, even with nothing else running.</summary>
public sealed class KvBudgetExceededException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="requiredBytes">The most bytes that the request would take at once.</param>
    /// <param name="limitBytes">The engine's limit.</param>
    /// <param name="promptTokens">Tokens of the prompt.</param>
    /// <param name="outputTokens">Tokens the answer may have.</param>
    public KvBudgetExceededException(long requiredBytes, long limitBytes, int promptTokens, int outputTokens)
        : base($"A prompt of {promptTokens:N0} tokens with an answer of up to {outputTokens:N0} needs {requiredBytes:N0} bytes of KV cache; KvCacheByteLimit is {limitBytes:N0}.")
    {
        RequiredBytes = requiredBytes;
        LimitBytes = limitBytes;
    }

    /// <summary>The most bytes that the request would take at once.</summary>
    public long RequiredBytes { get; }

    /// <summary>The engine's limit.</summary>
    public long LimitBytes { get; }
}
