using System.Globalization;
using KvPrune.OnnxOps.Onnx;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>Checks that the files beside a model hold the weights that it looks for there. Their contents are not read.</summary>
internal static class ExternalWeights
{
    /// <exception cref="ModelRewriteException">A file is missing, or ends before a tensor does.</exception>
    public static void Require(GraphProto graph, string folder)
    {
        Dictionary<string, long> lengths = [];
        foreach (var tensor in graph.Initializer.Where(tensor => tensor.DataLocation == TensorProto.Types.DataLocation.External))
        {
            var location = Entry(tensor, "location") is { Length: > 0 } named ? named
                : throw new ModelRewriteException($"Tensor '{tensor.Name}' lies in an external file that is not named.");
            var path = Path.Combine(folder, location);
            if (!lengths.TryGetValue(path, out var length))
            {
                length = lengths[path] = Length(path, tensor.Name);
            }

            var offset = Number(tensor, "offset");
            var bytes = Number(tensor, "length");
            if (offset > length || bytes > length - offset)
            {
                throw new ModelRewriteException(
                    $"{path} has {length} bytes, but tensor '{tensor.Name}' is said to have {bytes} bytes from {offset} on: the file was cut short.");
            }
        }
    }

    private static long Length(string path, string tensor)
    {
        try
        {
            using var file = File.OpenHandle(path); // the length of what a link leads to, where FileInfo tells the link's
            return RandomAccess.GetLength(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModelRewriteException($"{path}, which holds the weights of '{tensor}' and of others, cannot be read: {e.Message}", e);
        }
    }

    private static string? Entry(TensorProto tensor, string key) =>
        tensor.ExternalData.FirstOrDefault(entry => entry.Key == key)?.Value;

    private static long Number(TensorProto tensor, string key)
    {
        var text = Entry(tensor, key);
        if (text is null)
            return 0;
        return long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? number
            : throw new ModelRewriteException($"Tensor '{tensor.Name}' has the external data {key} '{text}', which is no number of bytes.");
    }
}
