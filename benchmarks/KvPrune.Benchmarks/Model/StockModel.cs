using KvPrune.AI.Models;
using KvPrune.Benchmarks.Measuring;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace KvPrune.Benchmarks.Model;

/// <summary>
/// The untouched model under ONNX Runtime with its past and present bound to the same buffers, so that a step appends in
/// place and copies nothing.
/// </summary>
internal sealed class StockModel : IModelContestant
{
    private readonly InferenceSession _session;
    private readonly OrtIoBinding _binding;
    private readonly RunOptions _runOptions = new();
    private readonly List<(bool IsKey, OrtValue Rows)> _caches = [];
    private readonly GenAIModelFolder _folder;
    private readonly GreedyChoice _choice;
    private int _length;
    private int _pending;

    public StockModel(GenAIModelFolder folder, int capacity, int threads)
    {
        _folder = folder;
        _choice = new GreedyChoice(folder);
        using var options = Sessions.Options(threads);
        _session = new InferenceSession(folder.ModelPath, options);
        _binding = _session.CreateIoBinding();
        foreach (var (name, input) in _session.InputMetadata.Where(input => input.Value.Dimensions.Length == 4))
        {
            if (input.ElementDataType != TensorElementType.Float)
                throw new NotSupportedException($"{folder.ModelPath}: the past '{name}' is {input.ElementDataType}; the benchmark compares with float32.");
            long[] shape = [1, input.Dimensions[1], capacity, input.Dimensions[3]];
            var cache = OrtValue.CreateTensorValueFromMemory(new float[shape.Aggregate((a, b) => a * b)], shape);
            _caches.Add((name.EndsWith(".key", StringComparison.Ordinal), cache));
            _binding.BindInput(name, cache);
            _binding.BindOutput(name.Replace("past_key_values", "present", StringComparison.Ordinal), cache);
        }
    }

    public string Name => "stock";

    public long CacheBytes => 2L * _folder.Layers * _folder.KvHeads * _folder.HeadSize * sizeof(float) * _length;

    public TimeSpan? Start(FilledRows? past)
    {
        _length = past?.Tokens ?? 0;
        if (past is null)
            return null;
        foreach (var (isKey, cache) in _caches)
        {
            var rows = isKey ? past.Keys : past.Values;
            var to = cache.GetTensorMutableDataAsSpan<float>();
            var head = past.Tokens * _folder.HeadSize;
            var stride = to.Length / _folder.KvHeads;
            for (var i = 0; i < _folder.KvHeads; i++)
                rows.AsSpan(i * head, head).CopyTo(to[(i * stride)..]);
        }

        return null;
    }

    public void Announce(int tokens)
    {
    }

    public void Read(ReadOnlySpan<int> chunk) => _pending = Run(chunk);

    public int Step() => _pending = Run([_pending]);

    public void Dispose()
    {
        _binding.Dispose();
        _caches.ForEach(cache => cache.Rows.Dispose());
        _runOptions.Dispose();
        _session.Dispose();
    }

    private int Run(ReadOnlySpan<int> tokens)
    {
        _length += tokens.Length;
        using var ids = OrtValue.CreateTensorValueFromMemory(Array.ConvertAll(tokens.ToArray(), id => (long)id), [1, tokens.Length]);
        using var mask = OrtValue.CreateTensorValueFromMemory(Enumerable.Repeat(1L, _length).ToArray(), [1, _length]);
        var logits = new float[tokens.Length * _folder.VocabularySize];
        using var logitsValue = OrtValue.CreateTensorValueFromMemory(logits, [1, tokens.Length, _folder.VocabularySize]);
        _binding.BindInput(_folder.InputIdsName, ids);
        _binding.BindInput(_folder.AttentionMaskName, mask);
        // Lives until after the run, though not every model takes it.
        using var positions = OrtValue.CreateTensorValueFromMemory(
            Enumerable.Range(_length - tokens.Length, tokens.Length).Select(position => (long)position).ToArray(), [1, tokens.Length]);
        if (_session.InputMetadata.ContainsKey(_folder.PositionIdsName))
            _binding.BindInput(_folder.PositionIdsName, positions);

        _binding.BindOutput(_folder.LogitsName, logitsValue);
        _session.RunWithBinding(_runOptions, _binding);
        return _choice.Of(logits.AsSpan(logits.Length - _folder.VocabularySize));
    }
}
