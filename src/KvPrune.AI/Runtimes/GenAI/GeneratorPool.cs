using KvPrune.AI.Runtimes.GenAI.Interop;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>Generators for the sequences that run; each of them can serve any sequence. Used by one thread at a time.</summary>
internal sealed class GeneratorPool(ModelHandle model, int contextLength) : IDisposable
{
    // A generator takes four bytes for each token of the context.
    private const int MaxIdle = 8;

    private readonly Stack<GenAIGenerator> _idle = new();
    private bool _disposed;

    public GenAIGenerator Rent() => _idle.TryPop(out GenAIGenerator? generator) ? generator : new GenAIGenerator(model, contextLength);

    public void Return(GenAIGenerator generator)
    {
        if (_disposed || _idle.Count == MaxIdle) generator.Dispose();
        else _idle.Push(generator);
    }

    public void Dispose()
    {
        _disposed = true;
        while (_idle.TryPop(out GenAIGenerator? generator)) generator.Dispose();
    }
}
