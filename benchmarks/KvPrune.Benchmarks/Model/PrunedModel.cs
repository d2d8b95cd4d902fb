using KvPrune.AI.Models;
using KvPrune.AI.Runtimes;
using KvPrune.OnnxOps;

namespace KvPrune.Benchmarks.Model;

/// <summary>One sequence under a policy; several share one loaded decoder.</summary>
internal sealed class PrunedModel(string name, IDecoderRuntime decoder, PruningPolicy policy, GenAIModelFolder folder) : IModelContestant
{
    private readonly float[] _logits = new float[decoder.VocabularySize];
    private readonly GreedyChoice _choice = new(folder);
    private IDecoderSequence? _sequence;
    private int _pending;

    public string Name => name;

    public long CacheBytes => Sequence.GetInfo().TotalBytes;

    private IDecoderSequence Sequence => _sequence ?? throw new InvalidOperationException($"{name} was not started.");

    public TimeSpan? Start(FilledRows? past)
    {
        _sequence?.Dispose();
        _sequence = decoder.CreateSequence(policy);
        if (past is null)
            return null;
        if (_sequence is not KvDecoderSequence { Kv: var unsealed })
            throw new NotSupportedException($"{name}: only ONNX Runtime's own sessions take a sequence that was filled.");
        using (unsealed)
        {
            unsealed.OpenDeferredSegment(past.Tokens, [policy]);
            for (var layer = 0; layer < folder.Layers; layer++)
                unsealed.Fill(layer, past.Keys, past.Values, past.Queries);
            var begin = Environment.CpuUsage.TotalTime;
            _sequence = new KvDecoderSequence(unsealed.SealAs(policy));
            return Environment.CpuUsage.TotalTime - begin;
        }
    }

    public void Announce(int tokens) => Sequence.OpenSegment(tokens);

    public void Read(ReadOnlySpan<int> chunk)
    {
        decoder.Prefill(Sequence, chunk, _logits, CancellationToken.None);
        _pending = _choice.Of(_logits);
    }

    public int Step()
    {
        decoder.Decode([Sequence], [_pending], _logits);
        return _pending = _choice.Of(_logits);
    }

    public void Dispose() => _sequence?.Dispose();
}
