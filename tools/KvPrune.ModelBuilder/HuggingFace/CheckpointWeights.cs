namespace KvPrune.ModelBuilder.HuggingFace;

/// <summary>The weights of a checkpoint in one safetensors file.</summary>
internal sealed class CheckpointWeights : IWeightSource, IDisposable
{
    private readonly SafetensorsFile _file;

    private CheckpointWeights(SafetensorsFile file) => _file = file;

    /// <summary>Opens the folder's model.safetensors and checks that it holds the model's tensors, each in its shape, and no other.</summary>
    public static CheckpointWeights Open(string folder, LlamaShape shape)
    {
        var path = Path.Combine(folder, "model.safetensors");
        if (!File.Exists(path) && File.Exists(path + ".index.json"))
            throw new ModelSourceException(path + ".index.json", null, "checkpoints split over several files are not supported.");

        var weights = new CheckpointWeights(SafetensorsFile.Open(path));
        try
        {
            weights.Verify(shape);
            return weights;
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    public void Read(string name, ReadOnlySpan<int> shape, Span<float> values)
    {
        CheckShape(name, shape);
        _file.ReadFloats(name, values);
    }

    public void Dispose() => _file.Dispose();

    private void Verify(LlamaShape shape)
    {
        var expected = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (name, dimensions) in LlamaTensors.All(shape))
        {
            expected.Add(name);
            CheckShape(name, dimensions);
        }

        foreach (var name in _file.Entries.Keys)
        {
            // Some checkpoints store the rotary frequencies, and tied ones the same matrix once more.
            var derived = name.EndsWith("rotary_emb.inv_freq", StringComparison.Ordinal)
                || (shape.TiedEmbeddings && name == LlamaTensors.OutputHead);
            if (!expected.Contains(name) && !derived)
                throw new ModelSourceException(_file.Path, name, "a Llama model has no such tensor; the result would ignore it.");
        }
    }

    private void CheckShape(string name, ReadOnlySpan<int> shape)
    {
        if (!_file.Entries.TryGetValue(name, out var entry))
            throw new ModelSourceException(_file.Path, name, "the file holds no such tensor.");
        var same = entry.Shape.Count == shape.Length;
        for (var i = 0; same && i < shape.Length; i++)
            same = entry.Shape[i] == shape[i];
        if (!same)
        {
            throw new ModelSourceException(
                _file.Path,
                name,
                $"the shape is [{string.Join(", ", entry.Shape)}]; config.json asks for [{string.Join(", ", shape.ToArray())}].");
        }

        if (entry.DType is not ("F32" or "F16" or "BF16"))
            throw new ModelSourceException(_file.Path, name, $"the type {entry.DType} is not one of F32, F16 and BF16.");
    }
}
