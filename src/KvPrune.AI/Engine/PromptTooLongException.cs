namespace KvPrune.AI.Engine;

/// <summary>
/// A prompt leaves no token of the model's context for an answer, or a document none for the repetition by which its policy
/// compresses it.
/// </summary>
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

    /// <summary>Creates the exception for a document that has to be repeated.</summary>
    /// <param name="documentTokens">Tokens of the document, chat template included.</param>
    /// <param name="contextLength">Tokens that the document and what is repeated at once may have together.</param>
    /// <param name="repeatTokens">The fewest tokens that are repeated at once.</param>
    public PromptTooLongException(int documentTokens, int contextLength, int repeatTokens)
        : base($"The document has {documentTokens:N0} tokens, of which the model repeats at least {repeatTokens:N0} at once for the policy to compress it; its context holds {contextLength:N0} for both together.")
    {
        PromptTokens = documentTokens;
        ContextLength = contextLength;
    }

    /// <summary>Tokens of the prompt, or of the document.</summary>
    public int PromptTokens { get; }

    /// <summary>Tokens that prompt and answer may have together.</summary>
    public int ContextLength { get; }
}
