using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace KvPrune.ModelBuilder.Tests;

/// <summary>Runs a model folder with stock operators, feeding every step's present tensors to the next as its past.</summary>
internal sealed class StockDecoder : IDisposable
{
    private readonly InferenceSession _session;
    private readonly RunOptions _run = new();
    private readonly string[] _inputs;
    private readonly string[] _outputs;
    private readonly List<OrtValue> _past = [];
    private readonly bool _positions;
    private int _length;

    public StockDecoder(string folder)
    {
        using var options = new SessionOptions { IntraOpNumThreads = 1, InterOpNumThreads = 1 };
        _session = new InferenceSession(Path.Combine(folder, "model.onnx"), options);
        _positions = _session.InputMetadata.ContainsKey("position_ids");
        string[] cache = [.. _session.InputMetadata.Keys.Where(n => n.StartsWith("past_key_values.", StringComparison.Ordinal))];
        _inputs = ["input_ids", "attention_mask", .. _positions ? ["position_ids"] : Array.Empty<string>(), .. cache];
        _outputs = ["logits", .. cache.Select(n => n.Replace("past_key_values", "present", StringComparison.Ordinal))];
        foreach (var input in cache)
        {
            var metadata = _session.InputMetadata[input];
            long[] shape = [1, metadata.Dimensions[1], 0, metadata.Dimensions[3]];
            _past.Add(metadata.ElementDataType == TensorElementType.Float16
                ? OrtValue.CreateTensorValueFromMemory(Array.Empty<Float16>(), shape)
                : OrtValue.CreateTensorValueFromMemory(Array.Empty<float>(), shape));
        }
    }

    /// <summary>Appends tokens and returns the logits of the last position.</summary>
    public float[] Append(params int[] ids)
    {
        _length += ids.Length;
        var positions = Enumerable.Range(_length - ids.Length, ids.Length).Select(p => (long)p).ToArray();
        using var tokens = OrtValue.CreateTensorValueFromMemory(Array.ConvertAll(ids, id => (long)id), [1, ids.Length]);
        using var mask = OrtValue.CreateTensorValueFromMemory(Enumerable.Repeat(1L, _length).ToArray(), [1, _length]);
        using var places = OrtValue.CreateTensorValueFromMemory(positions, [1, ids.Length]);
        OrtValue[] values = [tokens, mask, .. _positions ? [places] : Array.Empty<OrtValue>(), .. _past];
        var results = _session.Run(_run, _inputs, values, _outputs);
        _past.ForEach(p => p.Dispose());
        _past.Clear();
        _past.AddRange(results.Skip(1));
        using var logits = results[0];
        var vocabulary = (int)logits.GetTensorTypeAndShape().Shape[2];
        if (logits.GetTensorTypeAndShape().ElementDataType == TensorElementType.Float)
            return logits.GetTensorDataAsSpan<float>()[^vocabulary..].ToArray();
        var last = new float[vocabulary];
        TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<Float16, Half>(logits.GetTensorDataAsSpan<Float16>())[^vocabulary..], last);
        return last;
    }

    /// <summary>Reads the prompt and continues it with the likeliest tokens until an end token (not returned) or the limit.</summary>
    public List<int> Greedy(int[] prompt, int limit, params int[] ends)
    {
        var answer = new List<int>();
        for (var logits = Append(prompt); answer.Count < limit; logits = Append(answer[^1]))
        {
            var next = ArgMax(logits);
            if (ends.Contains(next))
                break;
            answer.Add(next);
        }

        return answer;
    }

    public static int ArgMax(float[] logits) => Array.IndexOf(logits, logits.Max());

    public void Dispose()
    {
        _past.ForEach(p => p.Dispose());
        _run.Dispose();
        _session.Dispose();
    }
}
