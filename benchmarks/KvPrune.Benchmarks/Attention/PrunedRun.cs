using KvPrune.OnnxOps;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.Benchmarks.Attention;

/// <summary>One run of this library's operator, its inputs and output bound.</summary>
internal sealed class PrunedRun : IDisposable
{
    private readonly InferenceSession _session;
    private readonly OrtIoBinding _binding;
    private readonly RunOptions _options = new();
    private readonly List<OrtValue> _values = [];

    /// <param name="session">A session of <see cref="AttentionGraphs.Pruned"/>.</param>
    /// <param name="inputs">Where the rows come from.</param>
    /// <param name="sequences">The batch.</param>
    /// <param name="first">Position of the first new token.</param>
    /// <param name="count">New tokens of each sequence.</param>
    /// <param name="output">Receives [batch, count, query heads × head size].</param>
    public PrunedRun(InferenceSession session, AttentionInputs inputs, IReadOnlyList<KvSequence> sequences, int first, int count, Memory<float> output)
    {
        _session = session;
        _binding = session.CreateIoBinding();
        NewTokens = count;
        var shape = inputs.Shape;
        var batch = sequences.Count;
        Input("query", inputs.QueryRows(first, count, batch), batch, count, shape.QueryWidth);
        Input("key", inputs.KeyRows(first, count, batch), batch, count, shape.KvWidth);
        Input("value", inputs.ValueRows(first, count, batch), batch, count, shape.KvWidth);
        Input<long>("sequence_handles", sequences.Select(sequence => sequence.Handle).ToArray(), batch);
        Input<int>("total_sequence_length", new[] { first + count }, 1);
        Input<int>("seqlens_k", Enumerable.Repeat(first + count - 1, batch).ToArray(), batch);
        _binding.BindOutput("output", Tensor(output, batch, count, shape.QueryWidth));

        void Input<T>(string name, Memory<T> data, params long[] dimensions)
            where T : unmanaged => _binding.BindInput(name, Tensor(data, dimensions));

        OrtValue Tensor<T>(Memory<T> data, params long[] dimensions)
            where T : unmanaged
        {
            var value = OrtValue.CreateTensorValueFromMemory(OrtMemoryInfo.DefaultInstance, data, dimensions);
            _values.Add(value);
            return value;
        }
    }

    public int NewTokens { get; }

    public void Run() => _session.RunWithBinding(_options, _binding);

    public void Dispose()
    {
        _binding.Dispose();
        _values.ForEach(value => value.Dispose());
        _options.Dispose();
    }
}
