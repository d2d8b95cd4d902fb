using KvPrune.AI.Models;
using KvPrune.AI.Runtimes.GenAI.Interop;
using KvPrune.AI.Sampling;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>Draws the tokens of one answer within a grammar, whose state a generator over constant logits keeps.</summary>
/// <remarks>
/// GenAI masks the logits in place before it draws a token, and takes the tokens appended next for what was drawn. So a
/// generated token, whichever it is, leaves the mask in the output, and appending the token drawn here moves the grammar on.
/// </remarks>
internal sealed class GrammarSampler : ITokenSampler, IDisposable
{
    private readonly GeneratorHandle _generator;
    private readonly Action<GeneratorHandle> _giveBack;
    private readonly ITokenSampler _sampler;
    private readonly string _logitsName;
    private readonly float[] _allowed;
    private int _drawn; // the first one only starts the generator
    private bool _disposed;

    /// <param name="generator">A generator with the grammar and without tokens.</param>
    /// <param name="sampler">Draws from what the grammar allows.</param>
    /// <param name="folder">The model.</param>
    /// <param name="giveBack">Takes the generator when the answer is finished.</param>
    public GrammarSampler(
        GeneratorHandle generator, ITokenSampler sampler, GenAIModelFolder folder, Action<GeneratorHandle> giveBack)
    {
        _generator = generator;
        _giveBack = giveBack;
        _sampler = sampler;
        _logitsName = folder.LogitsName;
        _allowed = new float[folder.VocabularySize];
    }

    /// <inheritdoc/>
    /// <exception cref="GenAIException">The grammar engine gave up, for instance because the grammar is too complex.</exception>
    public int Sample(ReadOnlySpan<float> logits)
    {
        NativeMethods.OgaGenerator_AppendTokens(_generator, [_drawn], 1).ThrowOnFailure();
        NativeMethods.OgaGenerator_GenerateNextToken(_generator).ThrowOnFailure();
        Mask(logits);
        return _drawn = _sampler.Sample(_allowed);
    }

    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        _giveBack(_generator);
    }

    private unsafe void Mask(ReadOnlySpan<float> logits)
    {
        NativeMethods.OgaGenerator_GetOutput(_generator, _logitsName, out TensorHandle output).ThrowOnFailure();
        using (output)
        {
            NativeMethods.OgaTensorGetData(output, out void* data).ThrowOnFailure();
            var mask = new ReadOnlySpan<float>(data, _allowed.Length);
            for (int i = 0; i < _allowed.Length; i++) _allowed[i] = mask[i] < 0 ? float.NegativeInfinity : logits[i];
        }
    }
}
