using KvPrune.AI.Models;
using KvPrune.AI.Runtimes.GenAI.Interop;
using KvPrune.AI.Sampling;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>
/// Grammars for a folder's tokenizer. GenAI keeps a grammar's state in a generator; these have a graph of their own that
/// computes nothing, so that neither a failed step nor a shared prompt of the decoder touches it. Safe for concurrent use.
/// </summary>
internal sealed class Grammars(GenAIModelFolder folder) : IDisposable
{
    // To make a generator takes as long as to read the tokenizer, and applications ask for the same few schemas again.
    private const int MaxIdle = 4;

    private readonly Lock _making = new(); // nothing says that two may be made at once
    private readonly Lock _keeping = new(); // for moments only: answers end on the thread that runs them all
    private readonly List<Idle> _idle = []; // longest unused first
    private GrammarModel? _model;
    private TokenInventory? _tokens;
    private bool _disposed;

    /// <summary>A sampler that draws only what a grammar allows.</summary>
    /// <exception cref="ArgumentException">The grammar cannot be used; the message is the grammar engine's.</exception>
    /// <exception cref="NotSupportedException">The library, or the folder's tokenizer, is not made for grammars.</exception>
    /// <exception cref="ObjectDisposedException">This was disposed.</exception>
    public GrammarSampler CreateSampler(Guidance guidance, ITokenSampler sampler)
    {
        lock (_making)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            _model ??= new GrammarModel(folder);
            _tokens ??= TokenInventory.Read(folder.TokenizerPath);
            if (TakeIdle(guidance) is { } idle) return CreateSampler(idle, sampler);
            string grammar = guidance.Kind == Guidance.JsonSchemaKind ? JsonSchemaSeparators.Fix(guidance.Grammar) : guidance.Grammar;
            var marked = MarkedGrammar.Create(guidance.Kind, grammar, folder, _tokens);
            try
            {
                return CreateSampler(new Idle(guidance, marked.Mark, _model.CreateGenerator(Guidance.LarkKind, marked.Lark)), sampler);
            }
            catch (GenAIException error)
            {
                _model.RequireGrammars();
                // In terms of what was asked for, without the mark, where that can be had.
                string problem = _model.Refusal(guidance.Kind, grammar) ?? error.Message;
                throw new ArgumentException($"The grammar ({guidance.Kind}) cannot be used: {problem}", nameof(guidance), error);
            }
        }
    }

    public void Dispose()
    {
        lock (_making)
        {
            lock (_keeping)
            {
                _disposed = true;
                foreach (Idle idle in _idle) idle.Generator.Dispose();
                _idle.Clear();
            }
            _model?.Dispose();
        }
    }

    private GrammarSampler CreateSampler(Idle used, ITokenSampler sampler)
    {
        try
        {
            NativeMethods.OgaGenerator_RewindTo(used.Generator, 0).ThrowOnFailure(); // it forgets the last answer
            return new GrammarSampler(used.Generator, used.Mark, sampler, folder, () => Keep(used));
        }
        catch
        {
            used.Generator.Dispose();
            throw;
        }
    }

    private Idle? TakeIdle(Guidance guidance)
    {
        lock (_keeping)
        {
            int index = _idle.FindLastIndex(idle => idle.Guidance == guidance);
            if (index < 0) return null;
            Idle found = _idle[index];
            _idle.RemoveAt(index);
            return found;
        }
    }

    private void Keep(Idle idle)
    {
        lock (_keeping)
        {
            if (_disposed)
            {
                idle.Generator.Dispose();
                return;
            }
            if (_idle.Count == MaxIdle)
            {
                _idle[0].Generator.Dispose();
                _idle.RemoveAt(0);
            }
            _idle.Add(idle);
        }
    }

    private sealed record Idle(Guidance Guidance, int Mark, GeneratorHandle Generator);
}
