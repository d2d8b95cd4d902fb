using System.Text.Json;

namespace KvPrune.ModelBuilder.HuggingFace;

/// <summary>A JSON object read from a file, with errors that name the file and the property.</summary>
internal sealed class JsonFile
{
    private readonly JsonElement _root;

    private JsonFile(string path, JsonElement root)
    {
        Path = path;
        _root = root;
    }

    public string Path { get; }

    public static JsonFile Load(string path)
    {
        try
        {
            using var json = JsonDocument.Parse(File.ReadAllBytes(path));
            if (json.RootElement.ValueKind != JsonValueKind.Object)
                throw new ModelSourceException(path, null, "the file is not a JSON object.");
            RefuseBrokenText(path, json.RootElement);
            return new JsonFile(path, json.RootElement.Clone());
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new ModelSourceException(path, null, "the file does not exist.", e);
        }
        catch (JsonException e)
        {
            throw new ModelSourceException(path, null, $"the file is not valid JSON: {e.Message}", e);
        }
    }

    /// <summary>The property, or null when it is missing or null.</summary>
    public JsonElement? Find(string property) =>
        _root.TryGetProperty(property, out var value) && value.ValueKind != JsonValueKind.Null ? value : null;

    /// <summary>Whether the property is there, be it null.</summary>
    public bool Has(string property) => _root.TryGetProperty(property, out _);

    public int? FindInt(string property)
    {
        if (Find(property) is not { } value)
            return null;
        return value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out var number)
            ? number
            : throw Wrong(property, $"{value} is not a whole number.");
    }

    public int Int(string property) => FindInt(property) ?? throw Wrong(property, "the property is missing.");

    public double Double(JsonElement value, string property) =>
        value.ValueKind == JsonValueKind.Number ? value.GetDouble() : throw Wrong(property, $"{value} is not a number.");

    public bool Flag(string property, bool whenMissing) => Find(property) switch
    {
        null => whenMissing,
        { ValueKind: JsonValueKind.True } => true,
        { ValueKind: JsonValueKind.False } => false,
        { } other => throw Wrong(property, $"{other} is neither true nor false."),
    };

    public string? FindString(string property) => Find(property) switch
    {
        null => null,
        { ValueKind: JsonValueKind.String } value => value.GetString(),
        { } other => throw Wrong(property, $"{other} is not a text."),
    };

    /// <summary>A token id or a list of them; null when missing.</summary>
    public IReadOnlyList<int>? FindIds(string property)
    {
        if (Find(property) is not { } value)
            return null;
        JsonElement[] items = value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray()] : [value];
        var ids = new int[items.Length];
        for (var i = 0; i < ids.Length; i++)
        {
            if (items[i].ValueKind != JsonValueKind.Number || !items[i].TryGetInt32(out ids[i]))
                throw Wrong(property, $"{value} is neither a token id nor a list of them.");
        }

        return ids.Length > 0 ? ids : null;
    }

    /// <summary>An object whose values are texts.</summary>
    public IReadOnlyDictionary<string, string> Texts(string property)
    {
        if (Find(property) is not { ValueKind: JsonValueKind.Object } map)
            throw Wrong(property, "the property is not an object.");
        var texts = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var entry in map.EnumerateObject())
        {
            texts[entry.Name] = entry.Value.ValueKind == JsonValueKind.String
                ? entry.Value.GetString()!
                : throw Wrong($"{property}.{entry.Name}", $"{entry.Value} is not a text.");
        }

        return texts;
    }

    // The parser lets escaped halves of surrogate pairs and bytes that are not UTF-8 through; they would fail at some later use.
    private static void RefuseBrokenText(string path, JsonElement root)
    {
        string? entry = null;
        try
        {
            foreach (var property in root.EnumerateObject())
            {
                entry = null;
                entry = property.Name;
                Read(property.Value);
            }
        }
        catch (InvalidOperationException e)
        {
            throw new ModelSourceException(path, entry, $"holds text that is not valid Unicode: {e.Message}", e);
        }

        static void Read(JsonElement value)
        {
            switch (value.ValueKind)
            {
                case JsonValueKind.String:
                    _ = value.GetString();
                    break;
                case JsonValueKind.Array:
                    foreach (var item in value.EnumerateArray())
                        Read(item);
                    break;
                case JsonValueKind.Object:
                    foreach (var property in value.EnumerateObject())
                    {
                        _ = property.Name;
                        Read(property.Value);
                    }

                    break;
            }
        }
    }

    public ModelSourceException Wrong(string property, string problem) => new(Path, property, problem);
}
