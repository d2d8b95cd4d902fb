using KvPrune.Benchmarks.Measuring;
using KvPrune.OnnxOps;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.Benchmarks.Attention;

/// <summary>This library's operator over sequences with a filled past.</summary>
internal sealed class PrunedAttention : IContestant
{
    private readonly AttentionInputs _inputs;
    private readonly KvSequence[] _sequences;
    private readonly InferenceSession _session;
    private readonly List<PrunedRun> _runs = [];
    private readonly float[] _output;

    public PrunedAttention(FilledPast past, PruningPolicy policy, int threads)
    {
        _inputs = past.Inputs;
        var width = _inputs.Shape.QueryWidth;
        _output = new float[_inputs.Batch * _inputs.NewTokens * width];
        // Its pages must not appear as memory that the operator takes.
        Array.Fill(_output, 1);
        // Not forks, which would share the sealed tiles.
        _sequences = [.. Enumerable.Range(0, _inputs.Batch).Select(_ => past.Compress(policy))];
        CacheBytes = _sequences.Sum(sequence => sequence.GetInfo().TotalBytes);
        using var options = Sessions.Options(threads);
        KvPruneOps.Register(options);
        _session = new InferenceSession(AttentionGraphs.Pruned(_inputs.Shape, _inputs.Batch, past.Manager.Id, _inputs.Softcap), options);
        foreach (var (first, count) in _inputs.Chunks())
        {
            // A batch has one run.
            var output = _output.AsMemory((first - _inputs.Past) * width, _inputs.Batch * count * width);
            _runs.Add(new PrunedRun(_session, _inputs, _sequences, first, count, output));
        }
    }

    public long CacheBytes { get; }

    public ReadOnlyMemory<float> Output => _output;

    /// <summary>The rows that the operator attends to, for one KV head, [past tokens, head size].</summary>
    public void ReadRows(int kvHead, Span<float> keys, Span<float> values) => _sequences[0].ReadRows(0, kvHead, keys, values);

    /// <summary>Which past tokens one KV head has rows of, [past tokens].</summary>
    public bool[] ReadKept(int kvHead) => _sequences[0].ReadKept(0, kvHead);

    public TimeSpan Step(RunClock clock)
    {
        // A decode step has no segment. One that was rolled back whole is still open.
        if (_inputs.NewTokens > 1 && _sequences[0].GetInfo().OpenSegmentTokens == 0)
            _sequences[0].OpenSegment(_inputs.NewTokens);
        var time = TimeSpan.Zero;
        for (var i = 0; i < _runs.Count; i++)
        {
            using var step = KvStep.Begin(_sequences, _runs[i].NewTokens);
            time += clock.Time(_runs[i].Run);
            // The last run is not committed: that drops every new token, so each step sees the same past.
            if (i < _runs.Count - 1)
                step.Commit();
        }

        return time;
    }

    public void Dispose()
    {
        _runs.ForEach(run => run.Dispose());
        _session.Dispose();
        Array.ForEach(_sequences, sequence => sequence.Dispose());
    }
}
