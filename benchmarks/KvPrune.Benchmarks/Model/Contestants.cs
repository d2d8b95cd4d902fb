using KvPrune.AI.Models;
using KvPrune.AI.Runtimes;
using KvPrune.AI.Runtimes.GenAI;
using KvPrune.OnnxOps;

namespace KvPrune.Benchmarks.Model;

/// <summary>All that take part in one measurement, the stock model first.</summary>
internal sealed class Contestants : IDisposable
{
    private readonly List<IModelContestant> _all = [];
    private readonly List<IDecoderRuntime> _decoders = [];

    /// <param name="folder">The model.</param>
    /// <param name="policies">Names of presets.</param>
    /// <param name="capacity">Tokens of prompt and answer.</param>
    /// <param name="threads">Threads of one run.</param>
    /// <param name="genai">The folder of GenAI's library; null: without GenAI.</param>
    public Contestants(GenAIModelFolder folder, IReadOnlyList<string> policies, int capacity, int threads, string? genai)
    {
        try
        {
            _all.Add(new StockModel(folder, capacity, threads));
            if (genai is not null)
                _all.Add(new GenAIStockModel(folder, capacity, threads, genai));
            AddPolicies("", OnnxRuntimeDecoder.Load(folder, null, threads), policies, folder);
            if (genai is not null)
                AddPolicies(" in GenAI", GenAIDecoder.Load(folder, null, threads, genai), policies, folder);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public IReadOnlyList<IModelContestant> All => _all;

    public void Dispose()
    {
        _all.ForEach(contestant => contestant.Dispose());
        _decoders.ForEach(decoder => decoder.Dispose());
    }

    private void AddPolicies(string suffix, IDecoderRuntime decoder, IReadOnlyList<string> policies, GenAIModelFolder folder)
    {
        _decoders.Add(decoder);
        foreach (var policy in policies)
            _all.Add(new PrunedModel(policy + suffix, decoder, PruningPolicy.FromName(policy), folder));
    }
}
