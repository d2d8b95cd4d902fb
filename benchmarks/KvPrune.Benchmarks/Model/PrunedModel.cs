using KvPrune.AI.Models;
using KvPrune.AI.Runtimes;
using KvPrune.OnnxOps;

namespace KvPrune.Benchmarks.Model;

/// <summary>One sequence under a policy; several share one loaded decoder.</summary>
internal sealed class PrunedModel(string name, IDecoderRuntime decoder, PruningPolicy policy, GenAIModelFolder folder) : IModelContestant
{
    private readonly IDecoderSequence _sequence = decoder.CreateSequence(policy);
    private readonly float[] _logits = new float[decoder.VocabularySize];
    private readonly GreedyChoice _choice = new(folder);
    private int _pending;

    public string Name => name;

    public long CacheBytes => _sequence.GetInfo().TotalBytes;

    public void Begin(int promptTokens) => _sequence.OpenSegment(promptTokens);

    public void Read(ReadOnlySpan<int> chunk)
    {
        decoder.Prefill(_sequence, chunk, _logits, CancellationToken.None);
        _pending = _choice.Of(_logits);
    }

    public int Step()
    {
        decoder.Decode([_sequence], [_pending], _logits);
        return _pending = _choice.Of(_logits);
    }

    public void Dispose() => _sequence.Dispose();
}
