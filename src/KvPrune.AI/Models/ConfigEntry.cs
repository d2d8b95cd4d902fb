using System.Text.Json;

namespace KvPrune.AI.Models;

/// <summary>A JSON object with the path that led to it, so that every complaint names file and entry.</summary>
internal readonly struct ConfigEntry
{
    private readonly string _file;
    private readonly string _path;
    private readonly JsonElement _element;

    private ConfigEntry(string file, string path, JsonElement element)
    {
        _file = file;
        _path = path;
        _element = element;
    }

    /// <summary>Reads a JSON file whose root is an object.</summary>
    public static ConfigEntry ReadFile(string file)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(
                File.ReadAllBytes(file), new() { AllowTrailingCommas = true, CommentHandling = JsonCommentHandling.Skip });
            if (document.RootElement.ValueKind != JsonValueKind.Object)
                throw new ModelFolderException(file, null, "the file must hold a JSON object.");
            return new ConfigEntry(file, "", document.RootElement.Clone());
        }
        catch (FileNotFoundException error)
        {
            throw new ModelFolderException(file, null, "the file is missing.", error);
        }
        catch (Exception error) when (error is JsonException or IOException or UnauthorizedAccessException)
        {
            throw new ModelFolderException(file, null, $"the file cannot be read: {error.Message}", error);
        }
    }

    public ConfigEntry Object(string name)
    {
        JsonElement element = Required(name, JsonValueKind.Object);
        return new ConfigEntry(_file, PathOf(name), element);
    }

    public ConfigEntry? OptionalObject(string name) => Has(name) ? Object(name) : null;

    public string Text(string name)
    {
        string text = ReadString(name, Required(name, JsonValueKind.String));
        return text.Length > 0 ? text : throw Wrong(name, "the value is empty.");
    }

    public string? OptionalText(string name) => Has(name) ? Text(name) : null;

    public int PositiveInteger(string name)
    {
        JsonElement element = Required(name, JsonValueKind.Number);
        return element.TryGetInt32(out int value) && value > 0
            ? value : throw Wrong(name, $"{element.GetRawText()} is not a positive integer.");
    }

    public int? OptionalPositiveInteger(string name) => Has(name) ? PositiveInteger(name) : null;

    public float? OptionalNumber(string name) => Has(name) ? Required(name, JsonValueKind.Number).GetSingle() : null;

    public bool? OptionalFlag(string name)
    {
        if (!Has(name)) return null;
        JsonElement element = _element.GetProperty(name);
        return element.ValueKind is JsonValueKind.True or JsonValueKind.False
            ? element.GetBoolean() : throw Wrong(name, $"true or false was expected, not {element.ValueKind}.");
    }

    /// <summary>One token id or a list of them, each in [0, vocabulary).</summary>
    public IReadOnlyList<int> TokenIds(string name, int vocabulary)
    {
        if (!Has(name)) throw Wrong(name, "the entry is missing.");
        JsonElement element = _element.GetProperty(name);
        JsonElement[] ids = element.ValueKind == JsonValueKind.Array ? [.. element.EnumerateArray()] : [element];
        if (ids.Length == 0) throw Wrong(name, "the list is empty.");
        var result = new int[ids.Length];
        for (int i = 0; i < ids.Length; i++)
        {
            if (ids[i].ValueKind != JsonValueKind.Number || !ids[i].TryGetInt32(out result[i]) || result[i] < 0 || result[i] >= vocabulary)
                throw Wrong(name, $"{ids[i].GetRawText()} is not a token id from 0 to {vocabulary - 1} (model.vocab_size is {vocabulary}).");
        }
        return result;
    }

    public ModelFolderException Wrong(string name, string problem) => new(_file, PathOf(name), problem);

    private bool Has(string name) => _element.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null;

    private string ReadString(string name, JsonElement element)
    {
        try
        {
            return element.GetString()!;
        }
        catch (InvalidOperationException error) // half a surrogate pair, or bytes that are not UTF-8
        {
            throw new ModelFolderException(_file, PathOf(name), $"the string is not valid Unicode: {error.Message}", error);
        }
    }

    private JsonElement Required(string name, JsonValueKind kind)
    {
        if (!Has(name)) throw Wrong(name, "the entry is missing.");
        JsonElement element = _element.GetProperty(name);
        return element.ValueKind == kind ? element : throw Wrong(name, $"a JSON {kind} was expected, not {element.ValueKind}.");
    }

    private string PathOf(string name) => _path.Length == 0 ? name : $"{_path}.{name}";
}
