using KvPrune.Benchmarks.Measuring;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.Benchmarks.Attention;

/// <summary>
/// ONNX Runtime's GroupQueryAttention in 32-bit floats as its generation loops use it at their best: past and present
/// bound to the same buffer, so that a step appends in place and copies nothing.
/// </summary>
internal sealed class StockAttention : IContestant
{
    private readonly InferenceSession _session;
    private readonly OrtIoBinding _binding;
    private readonly RunOptions _runOptions = new();
    private readonly List<OrtValue> _values = [];
    private readonly float[] _output;

    public StockAttention(AttentionInputs inputs, int threads)
    {
        var shape = inputs.Shape;
        using var options = Sessions.Options(threads);
        _session = new InferenceSession(AttentionGraphs.Stock(shape, inputs.Tokens), options);
        _binding = _session.CreateIoBinding();
        _output = new float[shape.QueryWidth];
        var last = inputs.Tokens - 1;
        Input("query", AttentionInputs.Rows(inputs.Queries, shape.QueryWidth, last, 1), 1, 1, shape.QueryWidth);
        Input("key", AttentionInputs.Rows(inputs.Keys, shape.KvWidth, last, 1), 1, 1, shape.KvWidth);
        Input("value", AttentionInputs.Rows(inputs.Values, shape.KvWidth, last, 1), 1, 1, shape.KvWidth);
        Input<int>("seqlens_k", new[] { last }, 1);
        Input<int>("total_sequence_length", new[] { inputs.Tokens }, 1);
        Cache("key", inputs.Keys, inputs);
        Cache("value", inputs.Values, inputs);
        _binding.BindOutput("output", Tensor<float>(_output, 1, 1, shape.QueryWidth));
    }

    public long CacheBytes { get; private set; }

    public ReadOnlyMemory<float> Output => _output;

    public TimeSpan Step(RunClock clock) => clock.Time(() => _session.RunWithBinding(_runOptions, _binding));

    public void Dispose()
    {
        _binding.Dispose();
        _values.ForEach(value => value.Dispose());
        _runOptions.Dispose();
        _session.Dispose();
    }

    // [tokens, KV heads, head size] to the operator's [1, KV heads, tokens, head size].
    private void Cache(string name, float[] rows, AttentionInputs inputs)
    {
        var shape = inputs.Shape;
        var cache = new float[rows.Length];
        for (var head = 0; head < shape.KvHeads; head++)
        {
            for (var token = 0; token < inputs.Tokens; token++)
            {
                rows.AsSpan((token * shape.KvWidth) + (head * shape.HeadSize), shape.HeadSize)
                    .CopyTo(cache.AsSpan(((head * inputs.Tokens) + token) * shape.HeadSize));
            }
        }

        var value = Tensor<float>(cache, 1, shape.KvHeads, inputs.Tokens, shape.HeadSize);
        _binding.BindInput("past_" + name, value);
        _binding.BindOutput("present_" + name, value);
        CacheBytes += (long)cache.Length * sizeof(float);
    }

    private void Input<T>(string name, Memory<T> data, params long[] dimensions)
        where T : unmanaged => _binding.BindInput(name, Tensor(data, dimensions));

    private OrtValue Tensor<T>(Memory<T> data, params long[] dimensions)
        where T : unmanaged
    {
        var value = OrtValue.CreateTensorValueFromMemory(OrtMemoryInfo.DefaultInstance, data, dimensions);
        _values.Add(value);
        return value;
    }
}
