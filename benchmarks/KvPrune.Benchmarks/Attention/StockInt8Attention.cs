using KvPrune.Benchmarks.Measuring;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.Benchmarks.Attention;

/// <summary>
/// ONNX Runtime's GroupQueryAttention over its own quantised cache: 8-bit integers with a fixed scale per channel and head
/// (here the largest magnitude / 127 of the whole past), bound as <see cref="StockAttention"/> binds its.
/// </summary>
internal sealed class StockInt8Attention : IContestant
{
    private readonly InferenceSession _session;
    private readonly OrtIoBinding _binding;
    private readonly RunOptions _runOptions = new();
    private readonly List<OrtValue> _values = [];
    private readonly float[] _output;

    public StockInt8Attention(AttentionInputs inputs, int threads)
    {
        var shape = inputs.Shape;
        using var options = Sessions.Options(threads);
        _session = new InferenceSession(AttentionGraphs.StockInt8(shape, inputs.Tokens), options);
        _binding = _session.CreateIoBinding();
        _output = new float[shape.QueryWidth];
        var last = inputs.Tokens - 1;
        Input("query", inputs.QueryRows(last, 1), 1, 1, shape.QueryWidth);
        Input("key", inputs.KeyRows(last, 1), 1, 1, shape.KvWidth);
        Input("value", inputs.ValueRows(last, 1), 1, 1, shape.KvWidth);
        Input<int>("seqlens_k", new[] { last }, 1);
        Input<int>("total_sequence_length", new[] { inputs.Tokens }, 1);
        Cache("key", "k_scale", inputs.Keys, inputs);
        Cache("value", "v_scale", inputs.Values, inputs);
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
    private void Cache(string name, string scaleName, float[] rows, AttentionInputs inputs)
    {
        var shape = inputs.Shape;
        var scales = new float[shape.KvWidth];
        for (var i = 0; i < rows.Length; i++)
            scales[i % shape.KvWidth] = Math.Max(scales[i % shape.KvWidth], Math.Abs(rows[i]) / 127);
        var cache = new sbyte[rows.Length];
        for (var i = 0; i < rows.Length; i++)
        {
            var (token, channel) = Math.DivRem(i, shape.KvWidth);
            var (head, j) = Math.DivRem(channel, shape.HeadSize);
            cache[(((head * inputs.Tokens) + token) * shape.HeadSize) + j] = (sbyte)MathF.Round(rows[i] / scales[channel]);
        }

        Input<float>(scaleName, scales, 1, shape.KvHeads, 1, shape.HeadSize);
        var value = Tensor<sbyte>(cache, 1, shape.KvHeads, inputs.Tokens, shape.HeadSize);
        _binding.BindInput("past_" + name, value);
        _binding.BindOutput("present_" + name, value);
        CacheBytes += cache.Length + ((long)scales.Length * sizeof(float));
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
