using Microsoft.ML.OnnxRuntime;

namespace KvPrune.ModelBuilder.Tests;

/// <summary>Runs a model folder with stock operators, feeding every step's present tensors to the next as its past.</summary>
internal sealed class StockDecoder : IDisposable
{
    private readonly InferenceSession _session;
    private readonly RunOptions _run = new();
    private readonly string[] _inputs;
    private readonly string[] _outputs;
    private readonly List<OrtValue> _past = [];
    private int _length;

    public StockDecoder(string folder)
    {
        using var options = new SessionOptions { IntraOpNumThreads = 1, InterOpNumThreads = 1 };
        _session = new InferenceSession(Path.Combine(folder, "model.onnx"), options);
        _inputs = [.. _session.InputMetadata.Keys];
        _outputs = ["logits", .. _inputs.Skip(2).Select(n => n.Replace("past_key_values", "present", StringComparison.Ordinal))];
        foreach (var input in _inputs.Skip(2))
        {
            var shape = _session.InputMetadata[input].Dimensions;
            _past.Add(OrtValue.CreateTensorValueFromMemory(Array.Empty<float>(), [1, shape[1], 0, shape[3]]));
        }
    }

    /// <summary>Appends tokens and returns the logits of the last position.</summary>
    public float[] Append(params int[] ids)
    {
        _length += ids.Length;
        using var tokens = OrtValue.CreateTensorValueFromMemory(Array.ConvertAll(ids, id => (long)id), [1, ids.Length]);
        using var mask = OrtValue.CreateTensorValueFromMemory(Enumerable.Repeat(1L, _length).ToArray(), [1, _length]);
        var results = _session.Run(_run, _inputs, [tokens, mask, .. _past], _outputs);
        _past.ForEach(p => p.Dispose());
        _past.Clear();
        _past.AddRange(results.Skip(1));
        using var logits = results[0];
        var vocabulary = (int)logits.GetTensorTypeAndShape().Shape[2];
        return logits.GetTensorDataAsSpan<float>()[^vocabulary..].ToArray();
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
