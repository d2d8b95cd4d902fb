using System.Text.Json.Nodes;

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

    public static AlteredFolder WithTemplate(string template) =>
        new AlteredFolder().Change("tokenizer_config.json", root => root["chat_template"] = template);

    public static AlteredFolder WithContext(int tokens) => new AlteredFolder().Change("genai_config.json", root =>
    {
        root["model"]!["context_length"] = tokens;
        root["search"]!["max_length"] = tokens;
    });

    public void Dispose() => _folder.Delete(recursive: true);
}
