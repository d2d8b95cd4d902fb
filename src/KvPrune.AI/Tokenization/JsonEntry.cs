using System.Text.Json;

namespace KvPrune.AI.Tokenization;

/// <summary>A value in a tokenizer.json that knows where it stands, so that whatever is wrong with it can be named.</summary>
internal readonly record struct JsonEntry(string File, string Path, JsonElement Element)
{
    private const int LongestQuote = 80;

    /// <summary>The entry "type" of an object; "(none)" if it has none.</summary>
    public string Type => Find("type") is { } type
        ? type.Element.ValueKind == JsonValueKind.String ? type.Element.GetString()! : type.Quoted
        : "(none)";

    /// <summary>The value as it stands in the file, cut where it is long.</summary>
    public string Quoted
    {
        get
        {
            string text = Element.GetRawText();
            return text.Length <= LongestQuote ? text : text[..LongestQuote] + "…";
        }
    }

    /// <summary>
    /// An entry of an object; null if it is missing. One that is null counts as missing, as everywhere in this format.
    /// </summary>
    public JsonEntry? Find(string name) =>
        Element.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null
            ? new JsonEntry(File, PathOf(name), value)
            : null;

    public JsonEntry Require(string name, JsonValueKind kind)
    {
        JsonEntry entry = Find(name) ?? throw Fail(name, "the entry is missing.");
        entry.RequireKind(kind);
        return entry;
    }

    public void RequireKind(JsonValueKind kind)
    {
        if (Element.ValueKind != kind)
            throw Fail($"{kind} is expected, not {Element.ValueKind}.");
    }

    /// <summary>A string that has to be there.</summary>
    public string Text(string name) => Require(name, JsonValueKind.String).Element.GetString()!;

    /// <summary>True or false.</summary>
    public bool Flag(string name, bool whenMissing = false)
    {
        if (Find(name) is not { } entry)
            return whenMissing;
        if (entry.Element.ValueKind is not (JsonValueKind.True or JsonValueKind.False))
            throw entry.Fail($"true or false is expected, not {entry.Quoted}.");
        return entry.Element.GetBoolean();
    }

    /// <summary>Whether a value is a token id.</summary>
    public static bool IsTokenId(JsonElement value, out int id)
    {
        id = 0;
        return value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out id) && id is >= 0 and < int.MaxValue;
    }

    /// <summary>A token id that has to be there.</summary>
    public int TokenId(string name)
    {
        JsonEntry entry = Require(name, JsonValueKind.Number);
        return IsTokenId(entry.Element, out int id)
            ? id
            : throw entry.Fail($"a token id is a whole number from 0 on, not {entry.Quoted}.");
    }

    /// <summary>The objects of an array that has to be there.</summary>
    public List<JsonEntry> Objects(string name)
    {
        JsonEntry array = Require(name, JsonValueKind.Array);
        List<JsonEntry> items = [];
        foreach (JsonElement item in array.Element.EnumerateArray())
        {
            items.Add(new JsonEntry(File, $"{array.Path}[{items.Count}]", item));
            items[^1].RequireKind(JsonValueKind.Object);
        }

        return items;
    }

    public TokenizerFormatException Fail(string problem) => new(File, Path, problem);

    public TokenizerFormatException Fail(string name, string problem) => new(File, PathOf(name), problem);

    private string PathOf(string name) => Path.Length == 0 ? name : $"{Path}.{name}";
}
