using System.Text.Json;
using System.Text.Json.Nodes;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Tests.Tokenization;

/// <summary>The tokenizer of the bundled model, and altered copies of it.</summary>
internal static class TokenizerFixture
{
    public const string Path = "models/tiny-retrieval-llama/tokenizer.json";

    public static readonly JsonElement Json = TestFiles.ReadJson(Path);

    public static readonly HfTokenizer Tokenizer = HfTokenizer.Load(TestFiles.Path(Path));

    /// <summary>The tokenizer.json of the bundled model after a change.</summary>
    public static JsonObject Altered(Action<JsonObject> change)
    {
        JsonObject root = JsonObject.Create(Json)!;
        // Without this the nodes stay views of the element and refuse to be changed in place.
        root = (JsonObject)root.DeepClone();
        change(root);
        return root;
    }

    public static HfTokenizer Load(string json)
    {
        string path = System.IO.Path.GetTempFileName();
        try
        {
            File.WriteAllText(path, json);
            return HfTokenizer.Load(path);
        }
        finally
        {
            File.Delete(path);
        }
    }

    public static HfTokenizer LoadAltered(Action<JsonObject> change) => Load(Altered(change).ToJsonString());

    /// <summary>The Split of Llama 3 or Qwen 2 in front of the byte level.</summary>
    public static void SplitFirst(JsonObject root, string pattern, string behavior = "Isolated", bool invert = false) =>
        root["pre_tokenizer"] = new JsonObject
        {
            ["type"] = "Sequence",
            ["pretokenizers"] = new JsonArray(
                new JsonObject
                {
                    ["type"] = "Split",
                    ["pattern"] = new JsonObject { ["Regex"] = pattern },
                    ["behavior"] = behavior,
                    ["invert"] = invert,
                },
                new JsonObject
                {
                    ["type"] = "ByteLevel",
                    ["add_prefix_space"] = false,
                    ["trim_offsets"] = true,
                    ["use_regex"] = false,
                }),
        };
}
