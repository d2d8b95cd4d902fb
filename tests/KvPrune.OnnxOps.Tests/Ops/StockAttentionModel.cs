using Google.Protobuf;
using KvPrune.OnnxOps.Tests.Graphs;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>A one-layer <see cref="AttentionGraph"/> as it is, for one sequence, with past and present tensors.</summary>
internal sealed class StockAttentionModel : IDisposable
{
    private static readonly string[] Outputs = ["output.0", "present.0.key", "present.0.value"];

    private readonly InferenceSession _session;
    private readonly RunOptions _runOptions = new();
    private OrtValue _keys;
    private OrtValue _values;
    private int _past;

    public StockAttentionModel(AttentionShape shape)
    {
        _session = Sessions.Create(AttentionGraph.Build(shape).ToByteArray());
        OrtValue Empty() => OrtValue.CreateAllocatedTensorValue(
            OrtAllocator.DefaultInstance, (TensorElementType)shape.Element, [1, shape.KvHeads, 0, shape.HeadSize]);
        (_keys, _values) = (Empty(), Empty());
    }

    public float[] Run(TokenRows rows)
    {
        using var lengths = OrtValue.CreateTensorValueFromMemory(new[] { _past + rows.Count - 1 }, [1]);
        using var total = OrtValue.CreateTensorValueFromMemory(new[] { _past + rows.Count }, [1]);
        var inputs = rows.Inputs(1);
        inputs["seqlens_k"] = lengths;
        inputs["total_sequence_length"] = total;
        inputs["past_key_values.0.key"] = _keys;
        inputs["past_key_values.0.value"] = _values;
        var outputs = _session.Run(_runOptions, inputs, Outputs);
        foreach (var input in inputs.Values)
            input.Dispose();
        (_keys, _values) = (outputs[1], outputs[2]);
        _past += rows.Count;
        using var output = outputs[0];
        return output.GetTensorDataAsSpan<float>().ToArray();
    }

    public void Dispose()
    {
        _keys.Dispose();
        _values.Dispose();
        _session.Dispose();
        _runOptions.Dispose();
    }
}
