using System.Globalization;
using KvPrune.OnnxOps.Onnx;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>
/// Checks that the files beside a model hold the weights that it looks for there, those of the bodies of its nodes and of
/// Constant nodes included. Their contents are not read.
/// </summary>
internal static class ExternalWeights
{
    /// <exception cref="ModelRewriteException">
    /// A file lies elsewhere than in the model's folder, is missing or no regular file, or ends before a tensor does.
    /// </exception>
    public static void Require(GraphProto graph, string folder)
    {
        Dictionary<string, long> lengths = [];
        foreach (var tensor in Tensors(graph).Where(tensor => tensor.DataLocation == TensorProto.Types.DataLocation.External))
        {
            var path = Path.Combine(folder, Location(tensor));
            if (!lengths.TryGetValue(path, out var length))
                length = lengths[path] = Length(path, tensor.Name);

            var offset = Number(tensor, "offset");
            var bytes = Math.Max(Number(tensor, "length"), TensorBytes.Of(tensor));
            if (offset > length || bytes > length - offset)
            {
                throw new ModelRewriteException(
                    $"{path} has {length} bytes, but tensor '{tensor.Name}' has {bytes} bytes from {offset} on: the file was cut short.");
            }
        }
    }

    private static IEnumerable<TensorProto> Tensors(GraphProto graph) => graph.Initializer
        .Concat(graph.Node.SelectMany(node => node.Attribute).Where(a => a.T is not null).Select(a => a.T))
        .Concat(graph.Node.SelectMany(node => node.Attribute).SelectMany(a => a.Tensors))
        .Concat(graph.Node.SelectMany(node => node.Subgraphs()).SelectMany(Tensors));

    /// <summary>The file of a tensor's values, within the model's folder.</summary>
    public static string Location(TensorProto tensor)
    {
        if (Entry(tensor, "location") is not { Length: > 0 } location)
            throw new ModelRewriteException($"Tensor '{tensor.Name}' lies in an external file that is not named.");
        if (location.Contains('\0', StringComparison.Ordinal))
            throw new ModelRewriteException($"Tensor '{tensor.Name}' lies in an external file whose name holds a NUL.");
        // ONNX Runtime takes neither.
        if (Path.IsPathRooted(location) || location.Split('/', '\\').Contains(".."))
            throw new ModelRewriteException($"Tensor '{tensor.Name}' lies in '{location}', outside the model's folder.");
        return location;
    }

    private static long Length(string path, string tensor)
    {
        try
        {
            // Of what a link leads to: downloads are often folders of links.
            var file = File.ResolveLinkTarget(path, returnFinalTarget: true) is { } target ? new FileInfo(target.FullName) : new FileInfo(path);
            var length = file.Length;
            // Pipes and devices have no length, and opening one may wait for ever.
            if (length > 0)
                File.OpenHandle(file.FullName).Dispose();
            return length;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModelRewriteException($"{path}, which holds the weights of '{tensor}' and of others, cannot be read: {e.Message}", e);
        }
    }

    private static string? Entry(TensorProto tensor, string key) =>
        tensor.ExternalData.FirstOrDefault(entry => entry.Key == key)?.Value;

    /// <summary>A number among what the tensor says about its file, 0 where it says nothing.</summary>
    public static long Number(TensorProto tensor, string key)
    {
        var text = Entry(tensor, key);
        if (text is null)
            return 0;
        return long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? number
            : throw new ModelRewriteException($"Tensor '{tensor.Name}' has the external data {key} '{text}', which is no number of bytes.");
    }
}
