using Google.Protobuf;
using KvPrune.OnnxOps.Onnx;

namespace KvPrune.OnnxOps.Tests.Graphs;

/// <summary>A temporary folder with a model.onnx.</summary>
internal sealed class ModelFolder : IDisposable
{
    public ModelFolder(byte[] model)
    {
        Folder = Directory.CreateTempSubdirectory("kvprune-").FullName;
        File.WriteAllBytes(ModelPath, model);
    }

    public ModelFolder(ModelProto model)
        : this(model.ToByteArray())
    {
    }

    public string Folder { get; }

    public string ModelPath => Path.Combine(Folder, "model.onnx");

    public static GroupQueryAttentionRewriter Load(ModelProto model)
    {
        using var folder = new ModelFolder(model);
        return GroupQueryAttentionRewriter.Load(folder.ModelPath);
    }

    public static ModelProto Rewrite(ModelProto model, LogitsPositions logits = LogitsPositions.Last) =>
        ModelProto.Parser.ParseFrom(Load(model).Rewrite(7, logits));

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}
