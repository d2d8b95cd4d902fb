using KvPrune.AI.Runtimes.GenAI.Interop;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>Tokenizer and chat template of a model that GenAI has loaded.</summary>
internal sealed class GenAITextModel : IDisposable
{
    private readonly TokenizerHandle _handle;

    /// <param name="model">The loaded model.</param>
    /// <param name="tokenizerJsonPath">Its folder's tokenizer.json.</param>
    /// <exception cref="Tokenization.TokenizerFormatException">A file of the tokenizer is missing or broken, or GenAI cannot use it.</exception>
    /// <exception cref="Templates.ChatTemplateException">There is no chat template, or GenAI cannot use it.</exception>
    public GenAITextModel(ModelHandle model, string tokenizerJsonPath)
    {
        TokenInventory tokens = TokenInventory.Read(tokenizerJsonPath);
        try
        {
            NativeMethods.OgaCreateTokenizer(model, out _handle).ThrowOnFailure();
            // The template writes them itself.
            NativeMethods.OgaUpdateTokenizerOptions(_handle, ["add_special_tokens"], ["false"], 1).ThrowOnFailure();
        }
        catch (GenAIException error)
        {
            throw new Tokenization.TokenizerFormatException(tokenizerJsonPath, "", "GenAI cannot use this tokenizer. " + error.Message, error);
        }
        Tokenizer = new GenAITokenizer(_handle, tokens);
        Template = new GenAIChatTemplate(_handle, tokens, Path.GetDirectoryName(tokenizerJsonPath)!);
        Template.RequireUsable();
    }

    public GenAITokenizer Tokenizer { get; }

    public GenAIChatTemplate Template { get; }

    public void Dispose() => _handle.Dispose();
}
