using Google.Protobuf;
using KvPrune.OnnxOps.Onnx;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>Reads an ONNX file into messages; never its external weight files.</summary>
internal static class ModelFile
{
    /// <summary>Parses the file at <paramref name="path"/>.</summary>
    /// <exception cref="ModelRewriteException">It is missing, unreadable, too large or no ONNX model.</exception>
    public static ModelProto Read(string path)
    {
        try
        {
            using var stream = File.OpenRead(path);
            if (stream.Length > int.MaxValue)
            {
                throw new ModelRewriteException(
                    $"{path} has {stream.Length} bytes, more than the 2 GiB that protobuf takes. " +
                    "Its weights belong in an external data file.");
            }

            var model = ModelProto.Parser.ParseFrom(stream);
            return model.Graph is { Node.Count: > 0 }
                ? model
                : throw new ModelRewriteException($"{path} holds no ONNX graph.");
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new ModelRewriteException($"{path} is truncated or no ONNX model: {e.Message}", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModelRewriteException($"{path} cannot be read: {e.Message}", e);
        }
    }
}
