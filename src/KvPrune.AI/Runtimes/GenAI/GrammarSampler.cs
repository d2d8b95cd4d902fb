using KvPrune.AI.Models;
using KvPrune.AI.Runtimes.GenAI.Interop;
using KvPrune.AI.Sampling;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>Draws the tokens of one answer within a grammar, whose state a generator over constant logits keeps.</summary>
/// <remarks>
/// GenAI masks the logits in place before it draws a token, and takes the tokens appended next for what was drawn. So a
/// generated token, whichever it is, leaves the mask in the output, and appending the token drawn here moves the grammar on.
/// Where the grammar engine gives up, GenAI begins the grammar anew without a word; the mark that each grammar begins with
/// (<see cref="MarkedGrammar"/>) shows it.
/// </remarks>
internal sealed class GrammarSampler : IGuidedSampler
{
    private readonly GeneratorHandle _generator;
    private readonly int _mark;
    private readonly ITokenSampler _sampler;
    private readonly Action _giveBack;
    private readonly string _logitsName;
    private readonly bool[] _mask;
    private readonly float[] _allowed;
    private int? _drawn;
    private bool _disposed;

    /// <param name="generator">A generator with the grammar and without tokens; the caller's if this throws.</param>
    /// <param name="mark">The token that the grammar begins with.</param>
    /// <param name="sampler">Draws from what the grammar allows.</param>
    /// <param name="folder">The model.</param>
    /// <param name="giveBack">Called when the answer is finished.</param>
    /// <exception cref="GenAIException">The grammar has no beginning.</exception>
    public GrammarSampler(
        GeneratorHandle generator, int mark, ITokenSampler sampler, GenAIModelFolder folder, Action giveBack)
    {
        _generator = generator;
        _mark = mark;
        _sampler = sampler;
        _giveBack = giveBack;
        _logitsName = folder.LogitsName;
        _mask = new bool[folder.VocabularySize];
        _allowed = new float[folder.VocabularySize];
        Advance(mark); // which one does not matter: it only starts the generator
        if (!IsAtMark()) throw new GenAIException($"The grammar engine does not take token {mark} for a special one.");
        Advance(mark);
        RequireProgress();
    }

    /// <inheritdoc/>
    /// <exception cref="GenAIException">The grammar engine gave up, for instance because the grammar is too complex.</exception>
    public int Sample(ReadOnlySpan<float> logits)
    {
        if (_drawn is { } token)
        {
            Advance(token);
            RequireProgress();
        }
        for (int i = 0; i < _allowed.Length; i++) _allowed[i] = _mask[i] ? logits[i] : float.NegativeInfinity;
        int drawn = _sampler.Sample(_allowed);
        _drawn = drawn;
        return drawn;
    }

    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        _giveBack();
    }

    /// <summary>Moves the grammar on and reads what it allows next.</summary>
    private unsafe void Advance(int token)
    {
        NativeMethods.OgaGenerator_AppendTokens(_generator, [token], 1).ThrowOnFailure();
        NativeMethods.OgaGenerator_GenerateNextToken(_generator).ThrowOnFailure();
        NativeMethods.OgaGenerator_GetOutput(_generator, _logitsName, out TensorHandle output).ThrowOnFailure();
        using (output)
        {
            NativeMethods.OgaTensorGetData(output, out void* data).ThrowOnFailure();
            var logits = new ReadOnlySpan<float>(data, _mask.Length);
            for (int i = 0; i < _mask.Length; i++) _mask[i] = logits[i] >= 0;
        }
    }

    private void RequireProgress()
    {
        if (IsAtMark()) throw new GenAIException("The grammar engine gave up: the grammar is too complex at this place of the answer.");
    }

    private bool IsAtMark() => _mask[_mark] && _mask.AsSpan().Count(true) == 1;
}
