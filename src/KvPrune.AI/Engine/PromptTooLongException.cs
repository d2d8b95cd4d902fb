namespace KvPrune.AI.Engine;

/// <summary>A prompt leaves no token of the model's context for an answer.</summary>
public sealed class PromptTooLongException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="promptTokens">Tokens of the prompt, chat template included.</param>
    /// <param name="contextLength">Tokens that prompt and answer may have together.</param>
    public PromptTooLongException(int promptTokens, int contextLength)
        : base($"The prompt has {promptTokens:N0} tokens; the model's context holds {contextLength:N0} for prompt and answer together.")
    {
        PromptTokens = promptTokens;
        ContextLength = contextLength;
    }

    /// <summary>Tokens of the prompt.</summary>
    public int PromptTokens { get; }

    /// <summary>Tokens that prompt and answer may have together.</summary>
    public int ContextLength { get; }
}
