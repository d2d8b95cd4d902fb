using KvPrune.Benchmarks.Measuring;
using KvPrune.OnnxOps;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.Benchmarks.Attention;

/// <summary>This library's operator over a sequence that was filled by reading a prompt through it.</summary>
internal sealed class PrunedAttention : IContestant
{
    // Bounds the tensors that a long prompt is fed in.
    private const int FillTokens = 2048;

    private readonly AttentionInputs _inputs;
    private readonly KvCacheManager _manager;
    private readonly KvSequence _sequence;
    private readonly InferenceSession _session;
    private readonly List<(int Count, OrtIoBinding Binding)> _runs = [];
    private readonly RunOptions _runOptions = new();
    private readonly List<OrtValue> _values = [];
    private readonly float[] _output;

    public PrunedAttention(AttentionInputs inputs, PruningPolicy policy, int threads)
    {
        _inputs = inputs;
        _output = new float[inputs.NewTokens * inputs.Shape.QueryWidth];
        // Its pages must not appear as memory that the operator takes.
        Array.Fill(_output, 1);
        _manager = new KvCacheManager(inputs.Shape.ToModelShape(inputs.Tokens));
        _sequence = _manager.CreateSequence(policy);
        if (inputs.Past > 0)
            Fill();
        var info = _sequence.GetInfo();
        CacheBytes = info.TotalBytes;
        using var options = Sessions.Options(threads);
        KvPruneOps.Register(options);
        _session = new InferenceSession(AttentionGraphs.Pruned(inputs.Shape, _manager.Id, inputs.Softcap), options);
        foreach (var (first, count) in inputs.Chunks())
        {
            var output = AttentionInputs.Rows(_output, inputs.Shape.QueryWidth, first - inputs.Past, count);
            var (binding, values) = Bind(_session, first, count, output);
            _runs.Add((count, binding));
            _values.AddRange(values);
        }
    }

    public long CacheBytes { get; }

    public ReadOnlyMemory<float> Output => _output;

    /// <summary>The rows that the operator attends to, for one KV head, [past tokens, head size].</summary>
    public void ReadRows(int kvHead, Span<float> keys, Span<float> values) => _sequence.ReadRows(0, kvHead, keys, values);

    public TimeSpan Step(RunClock clock)
    {
        // A decode step has no segment. One that was rolled back whole is still open.
        if (_inputs.NewTokens > 1 && _sequence.GetInfo().OpenSegmentTokens == 0)
            _sequence.OpenSegment(_inputs.NewTokens);
        var time = TimeSpan.Zero;
        for (var i = 0; i < _runs.Count; i++)
        {
            using var step = KvStep.Begin(_sequence, _runs[i].Count);
            time += clock.Time(() => _session.RunWithBinding(_runOptions, _runs[i].Binding));
            // The last run is not committed: that drops every new token, so each step sees the same past.
            if (i < _runs.Count - 1)
                step.Commit();
        }

        return time;
    }

    public void Dispose()
    {
        _runs.ForEach(run => run.Binding.Dispose());
        _values.ForEach(value => value.Dispose());
        _runOptions.Dispose();
        _session.Dispose();
        _sequence.Dispose();
        _manager.Dispose();
    }

    // With its own session, so that reading the prompt may use every core.
    private void Fill()
    {
        using var options = Sessions.Options(threads: 0);
        KvPruneOps.Register(options);
        using var session = new InferenceSession(AttentionGraphs.Pruned(_inputs.Shape, _manager.Id, _inputs.Softcap), options);
        var past = _inputs.Past;
        _sequence.OpenSegment(past);
        for (var first = 0; first < past; first += FillTokens)
        {
            var count = Math.Min(FillTokens, past - first);
            using var step = KvStep.Begin(_sequence, count);
            var (binding, values) = Bind(session, first, count, new float[count * _inputs.Shape.QueryWidth]);
            using (binding)
                session.RunWithBinding(_runOptions, binding);
            values.ForEach(value => value.Dispose());
            step.Commit();
        }
    }

    private (OrtIoBinding Binding, List<OrtValue> Values) Bind(InferenceSession session, int first, int count, Memory<float> output)
    {
        var shape = _inputs.Shape;
        var binding = session.CreateIoBinding();
        var values = new List<OrtValue>();
        Input("query", AttentionInputs.Rows(_inputs.Queries, shape.QueryWidth, first, count), 1, count, shape.QueryWidth);
        Input("key", AttentionInputs.Rows(_inputs.Keys, shape.KvWidth, first, count), 1, count, shape.KvWidth);
        Input("value", AttentionInputs.Rows(_inputs.Values, shape.KvWidth, first, count), 1, count, shape.KvWidth);
        Input<long>("sequence_handles", new[] { _sequence.Handle }, 1);
        Input<int>("total_sequence_length", new[] { first + count }, 1);
        Input<int>("seqlens_k", new[] { first + count - 1 }, 1);
        binding.BindOutput("output", Tensor(output, 1, count, shape.QueryWidth));
        return (binding, values);

        void Input<T>(string name, Memory<T> data, params long[] dimensions)
            where T : unmanaged => binding.BindInput(name, Tensor(data, dimensions));

        OrtValue Tensor<T>(Memory<T> data, params long[] dimensions)
            where T : unmanaged
        {
            var value = OrtValue.CreateTensorValueFromMemory(OrtMemoryInfo.DefaultInstance, data, dimensions);
            values.Add(value);
            return value;
        }
    }
}
