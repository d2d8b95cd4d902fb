using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Tests.Tokenization;

/// <summary>
/// Tokenizers put together as the families of models have them, over two small vocabularies, and what Hugging Face's
/// tokenizers make of 2,000 lines. goldens/generate.mjs wrote the expectations.
/// </summary>
internal static class GoldenFamilies
{
    private const string Folder = "tests/KvPrune.AI.Tests/Tokenization/goldens/";

    private static readonly JsonObject Families = Read("families.json");
    private static readonly JsonObject Models = Read("models.json");
    private static readonly JsonElement Expected = TestFiles.ReadJson(Folder + "expected.json");
    private static readonly ConcurrentDictionary<string, HfTokenizer> Loaded = [];

    public static readonly string[] Lines = TestFiles.ReadJson(Folder + "lines.json").Deserialize<string[]>()!;

    public static IEnumerable<string> Names => Families.Select(family => family.Key);

    public static bool IsByteLevel(string name) => Families[name]!["base"]!.GetValue<string>() == "byteLevel";

    public static HfTokenizer Load(string name) => Loaded.GetOrAdd(name, _ => TokenizerFixture.Load(Json(name).ToJsonString()));

    /// <summary>The whole tokenizer.json of a family.</summary>
    public static JsonObject Json(string name)
    {
        JsonObject root = Families[name]!.DeepClone().AsObject();
        var model = (JsonObject)root["model"]!;
        model["type"] = "BPE";
        foreach ((string part, JsonNode? value) in Models[root["base"]!.GetValue<string>()]!.AsObject())
            model[part] = value!.DeepClone();

        var vocabulary = (JsonObject)model["vocab"]!;
        int next = vocabulary.Count;
        var added = new JsonArray();
        foreach (JsonNode? token in root["added"]!.AsArray())
        {
            string content = token![0]!.GetValue<string>();
            string[] flags = [.. token[1]!.AsArray().Select(flag => flag!.GetValue<string>())];
            var entry = new JsonObject
            {
                ["id"] = vocabulary[content]?.GetValue<int>() ?? next++,
                ["content"] = content,
                ["special"] = !flags.Contains("ordinary"),
            };
            foreach (string flag in (string[])["lstrip", "rstrip", "single_word", "normalized"])
                entry[flag] = flags.Contains(flag);
            added.Add(entry);
        }

        root["added_tokens"] = added;
        root.Remove("base");
        root.Remove("added");
        return root;
    }

    /// <summary>Per line a hash over its ids with added tokens and without.</summary>
    public static uint[] ExpectedHashes(string name) =>
        [.. MemoryMarshal.Cast<byte, uint>(Expected.GetProperty(name).GetBytesFromBase64())];

    /// <summary>FNV-1a over lists of ids, each ended by -1.</summary>
    public static uint Hash(params int[][] lists)
    {
        uint value = 0x811C9DC5;
        foreach (byte part in lists.SelectMany(list => list.Append(-1)).SelectMany(BitConverter.GetBytes))
            value = unchecked((value ^ part) * 0x01000193);
        return value;
    }

    private static JsonObject Read(string name) => JsonNode.Parse(File.ReadAllBytes(TestFiles.Path(Folder + name)))!.AsObject();
}
