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
    private readonly List<OrtIoBinding> _bindings = [];
    private readonly RunOptions _runOptions = new();
    private readonly List<OrtValue> _values = [];
    private readonly float[] _output;

    public StockAttention(AttentionInputs inputs, int threads)
    {
        var shape = inputs.Shape;
        using var options = Sessions.Options(threads);
        _session = new InferenceSession(AttentionGraphs.Stock(shape, inputs.Batch, inputs.Tokens, inputs.Softcap), options);
        _output = new float[inputs.Batch * inputs.NewTokens * shape.QueryWidth];
        var keys = Cache(inputs.Keys, inputs);
        var values = Cache(inputs.Values, inputs);
        foreach (var (first, count) in inputs.Chunks())
        {
            var binding = _session.CreateIoBinding();
            _bindings.Add(binding);
            Input("query", inputs.QueryRows(first, count, inputs.Batch), inputs.Batch, count, shape.QueryWidth);
            Input("key", inputs.KeyRows(first, count, inputs.Batch), inputs.Batch, count, shape.KvWidth);
            Input("value", inputs.ValueRows(first, count, inputs.Batch), inputs.Batch, count, shape.KvWidth);
            Input<int>("seqlens_k", Enumerable.Repeat(first + count - 1, inputs.Batch).ToArray(), inputs.Batch);
            Input<int>("total_sequence_length", new[] { first + count }, 1);
            binding.BindInput("past_key", keys);
            binding.BindInput("past_value", values);
            binding.BindOutput("present_key", keys);
            binding.BindOutput("present_value", values);
            // A batch has one run.
            var output = _output.AsMemory((first - inputs.Past) * shape.QueryWidth, inputs.Batch * count * shape.QueryWidth);
            binding.BindOutput("output", Tensor(output, inputs.Batch, count, shape.QueryWidth));

            void Input<T>(string name, Memory<T> data, params long[] dimensions)
                where T : unmanaged => binding.BindInput(name, Tensor(data, dimensions));
        }
    }

    public long CacheBytes { get; private set; }

    public ReadOnlyMemory<float> Output => _output;

    public TimeSpan Step(RunClock clock) => clock.Time(() => _bindings.ForEach(binding => _session.RunWithBinding(_runOptions, binding)));

    public void Dispose()
    {
        _bindings.ForEach(binding => binding.Dispose());
        _values.ForEach(value => value.Dispose());
        _runOptions.Dispose();
        _session.Dispose();
    }

    // [tokens, KV heads, head size] to the operator's [batch, KV heads, tokens, head size].
    private OrtValue Cache(float[] rows, AttentionInputs inputs)
    {
        var shape = inputs.Shape;
        var size = inputs.Tokens * shape.KvWidth;
        var cache = new float[inputs.Batch * size];
        for (var head = 0; head < shape.KvHeads; head++)
        {
            for (var token = 0; token < inputs.Tokens; token++)
            {
                rows.AsSpan((token * shape.KvWidth) + (head * shape.HeadSize), shape.HeadSize)
                    .CopyTo(cache.AsSpan(((head * inputs.Tokens) + token) * shape.HeadSize));
            }
        }

        for (var sequence = 1; sequence < inputs.Batch; sequence++)
            cache.AsSpan(0, size).CopyTo(cache.AsSpan(sequence * size));
        CacheBytes += (long)cache.Length * sizeof(float);
        return Tensor<float>(cache, inputs.Batch, shape.KvHeads, inputs.Tokens, shape.HeadSize);
    }

    private OrtValue Tensor<T>(Memory<T> data, params long[] dimensions)
        where T : unmanaged
    {
        var value = OrtValue.CreateTensorValueFromMemory(OrtMemoryInfo.DefaultInstance, data, dimensions);
        _values.Add(value);
        return value;
    }
}
