using System.Security.Cryptography;
using System.Text;

namespace KvPrune.ModelBuilder.HuggingFace;

/// <summary>The weights of a checkpoint in one safetensors file, or in several with an index.</summary>
internal sealed class CheckpointWeights : IWeightSource, IDisposable
{
    private const string SingleFile = "model.safetensors";

    private readonly List<SafetensorsFile> _files = [];
    private readonly Dictionary<string, SafetensorsFile> _fileOf = new(StringComparer.Ordinal);
    private readonly string _whole;

    private CheckpointWeights(string whole) => _whole = whole;

    /// <summary>Opens the folder's weights and checks that they are the model's tensors, each in its shape, and no other.</summary>
    public static CheckpointWeights Open(string folder, ModelShape shape)
    {
        var single = Path.Combine(folder, SingleFile);
        var index = single + ".index.json";
        var sharded = !File.Exists(single) && File.Exists(index);
        var weights = new CheckpointWeights(sharded ? index : single);
        try
        {
            if (sharded)
                weights.AddShards(folder, index);
            else
                weights.Add(single);
            weights.Verify(shape);
            return weights;
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>Changes when the files do: their names, lengths, times and tensors.</summary>
    public string Fingerprint()
    {
        var text = new StringBuilder();
        foreach (var file in _files)
        {
            var info = new FileInfo(file.Path);
            text.Append(FormattableString.Invariant($"{info.FullName} {info.Length} {info.LastWriteTimeUtc.Ticks}\n"));
            foreach (var (name, entry) in file.Entries)
                text.Append(FormattableString.Invariant($"{entry.Begin} {entry.DType} {name}\n"));
        }

        return Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(text.ToString())));
    }

    public string FileOf(string name) => _fileOf.TryGetValue(name, out var file) ? file.Path : _whole;

    public void Read(string name, ReadOnlySpan<int> shape, long start, Span<float> values)
    {
        CheckShape(name, shape);
        _fileOf[name].ReadFloats(name, start, values);
    }

    public void Dispose() => _files.ForEach(file => file.Dispose());

    private void Add(string path)
    {
        var file = SafetensorsFile.Open(path);
        _files.Add(file);
        foreach (var name in file.Entries.Keys)
        {
            if (!_fileOf.TryAdd(name, file))
                throw new ModelSourceException(path, name, $"the tensor is in {Path.GetFileName(_fileOf[name].Path)} as well.");
        }
    }

    private void AddShards(string folder, string index)
    {
        var map = JsonFile.Load(index).Texts("weight_map");
        foreach (var (tensor, file) in map)
        {
            // The index may come from anywhere: it must not make this program read other files than the folder's.
            if (file.Length == 0 || file is "." or ".." || file.AsSpan().IndexOfAny('/', '\\', '\0') >= 0)
                throw new ModelSourceException(index, tensor, $"\"{file}\" is not the name of a file beside the index.");
        }

        foreach (var file in map.Values.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal))
            Add(Path.Combine(folder, file));
        foreach (var (tensor, file) in map)
        {
            if (!_fileOf.TryGetValue(tensor, out var holder) || Path.GetFileName(holder.Path) != file)
                throw new ModelSourceException(Path.Combine(folder, file), tensor, "the file holds no such tensor, though the index says so.");
        }
    }

    private void Verify(ModelShape shape)
    {
        var expected = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (name, dimensions) in ModelTensors.All(shape))
        {
            expected.Add(name);
            CheckShape(name, dimensions);
        }

        foreach (var name in _fileOf.Keys)
        {
            // Some checkpoints store the rotary frequencies, and tied ones the same matrix once more.
            var derived = name.EndsWith("rotary_emb.inv_freq", StringComparison.Ordinal)
                || (shape.TiedEmbeddings && name == ModelTensors.OutputHead);
            if (!expected.Contains(name) && !derived)
            {
                throw new ModelSourceException(
                    FileOf(name), name, $"a {shape.Architecture} model of this configuration has no such tensor; the result would ignore it.");
            }
        }
    }

    private void CheckShape(string name, ReadOnlySpan<int> shape)
    {
        if (!_fileOf.TryGetValue(name, out var file))
            throw new ModelSourceException(_whole, name, "the checkpoint holds no such tensor.");
        var entry = file.Entries[name];
        var same = entry.Shape.Count == shape.Length;
        for (var i = 0; same && i < shape.Length; i++)
            same = entry.Shape[i] == shape[i];
        if (!same)
        {
            throw new ModelSourceException(
                file.Path,
                name,
                $"the shape is [{string.Join(", ", entry.Shape)}]; config.json asks for [{string.Join(", ", shape.ToArray())}].");
        }

        if (entry.DType is not ("F32" or "F16" or "BF16"))
            throw new ModelSourceException(file.Path, name, $"the type {entry.DType} is not one of F32, F16 and BF16.");
    }
}
