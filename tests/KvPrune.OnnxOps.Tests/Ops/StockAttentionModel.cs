using Google.Protobuf;
using KvPrune.OnnxOps.Tests.Graphs;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>A one-layer <see cref="AttentionGraph"/> as it is, for one sequence, with past and present tensors.</summary>
internal sealed class StockAttentionModel(AttentionShape shape) : IDisposable
{
    private readonly InferenceSession _session = Sessions.Create(AttentionGraph.Build(shape).ToByteArray());
    private readonly RunOptions _runOptions = new();
    private float[] _keys = [];
    private float[] _values = [];

    public float[] Run(TokenRows rows)
    {
        var past = _keys.Length / shape.KvWidth;
        long[] pastShape = [1, shape.KvHeads, past, shape.HeadSize];
        using var query = OrtValue.CreateTensorValueFromMemory(rows.Query, [1, rows.Count, shape.QueryWidth]);
        using var key = OrtValue.CreateTensorValueFromMemory(rows.Key, [1, rows.Count, shape.KvWidth]);
        using var value = OrtValue.CreateTensorValueFromMemory(rows.Value, [1, rows.Count, shape.KvWidth]);
        using var lengths = OrtValue.CreateTensorValueFromMemory(new[] { past + rows.Count - 1 }, [1]);
        using var total = OrtValue.CreateTensorValueFromMemory(new[] { past + rows.Count }, [1]);
        using var pastKeys = OrtValue.CreateTensorValueFromMemory(_keys, pastShape);
        using var pastValues = OrtValue.CreateTensorValueFromMemory(_values, pastShape);
        var inputs = new Dictionary<string, OrtValue>
        {
            ["query"] = query,
            ["key"] = key,
            ["value"] = value,
            ["seqlens_k"] = lengths,
            ["total_sequence_length"] = total,
            ["past_key_values.0.key"] = pastKeys,
            ["past_key_values.0.value"] = pastValues,
        };
        using var outputs = _session.Run(_runOptions, inputs, ["output.0", "present.0.key", "present.0.value"]);
        _keys = outputs[1].GetTensorDataAsSpan<float>().ToArray();
        _values = outputs[2].GetTensorDataAsSpan<float>().ToArray();
        return outputs[0].GetTensorDataAsSpan<float>().ToArray();
    }

    public void Dispose()
    {
        _session.Dispose();
        _runOptions.Dispose();
    }
}
