using System.Globalization;
using System.Text.Json.Nodes;
using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Rewriting;

namespace KvPrune.AI.Tests.Runtimes.GenAI;

/// <summary>A copy of the bundled model's folder with changes.</summary>
internal sealed class AlteredFolder : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("kvprune-");

    public AlteredFolder()
    {
        foreach (string file in Directory.EnumerateFiles(BundledModel.Folder))
            File.Copy(file, System.IO.Path.Combine(Path, System.IO.Path.GetFileName(file)));
    }

    public string Path => _folder.FullName;

    public AlteredFolder Change(string file, Action<JsonObject> change)
    {
        string path = System.IO.Path.Combine(Path, file);
        var root = (JsonObject)JsonNode.Parse(File.ReadAllText(path))!;
        change(root);
        File.WriteAllText(path, root.ToJsonString());
        return this;
    }

    /// <summary>Overwrites one element of a weight that lies in the external data file.</summary>
    public AlteredFolder Poison(string weight, float value)
    {
        GraphProto graph = ModelFile.Read(System.IO.Path.Combine(Path, "model.onnx")).Graph;
        TensorProto tensor = graph.Initializer.Single(tensor => tensor.Name == weight);
        string Entry(string key) => tensor.ExternalData.Single(entry => entry.Key == key).Value;
        using FileStream data = File.OpenWrite(System.IO.Path.Combine(Path, Entry("location")));
        data.Position = long.Parse(Entry("offset"), CultureInfo.InvariantCulture);
        data.Write(BitConverter.GetBytes(value));
        return this;
    }

    public static AlteredFolder WithTemplate(string template) =>
        new AlteredFolder().Change("tokenizer_config.json", root => root["chat_template"] = template);

    public static AlteredFolder WithContext(int tokens) => new AlteredFolder().Change("genai_config.json", root =>
    {
        root["model"]!["context_length"] = tokens;
        root["search"]!["max_length"] = tokens;
    });

    public void Dispose() => _folder.Delete(recursive: true);
}
