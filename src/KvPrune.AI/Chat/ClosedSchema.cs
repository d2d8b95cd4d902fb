using System.Text.Json;
using System.Text.Json.Nodes;

namespace KvPrune.AI.Chat;

/// <summary>
/// Closes the objects of a JSON schema where it does not say otherwise: JSON Schema allows properties that are not listed,
/// and a model that begins to make them up may never end. An object to which several schemas apply at once stays open, as
/// each of them lists its own properties only.
/// </summary>
internal sealed class ClosedSchema
{
    // Keywords after which other schemas apply to an object besides its own properties, and those that count properties.
    private static readonly string[] Combining =
    [
        "allOf", "if", "then", "else", "not", "dependentSchemas", "dependencies", "patternProperties", "unevaluatedProperties",
        "propertyNames", "minProperties", "$dynamicRef", "$recursiveRef",
    ];

    // One of them alone is no more than the schema that it leads to.
    private static readonly string[] Leading = ["anyOf", "oneOf", "$ref"];

    private static readonly string[] Definitions = ["$defs", "definitions"];

    private readonly JsonNode _root;
    private readonly HashSet<JsonObject> _open = [];
    private readonly HashSet<JsonObject> _visited = [];
    private bool _leadsAway;

    private ClosedSchema(JsonNode root) => _root = root;

    /// <summary>The schema with "additionalProperties": false where it fits; one that cannot be read stays as it is.</summary>
    public static string Of(JsonElement schema)
    {
        string text = schema.GetRawText();
        try
        {
            if (JsonNode.Parse(text, documentOptions: new() { AllowDuplicateProperties = false, MaxDepth = 128 }) is not JsonObject root) return text;
            var closed = new ClosedSchema(root);
            closed.Visit(root, shared: false);
            if (closed._leadsAway) return text;
            foreach (JsonObject place in closed._visited.Where(place => !closed._open.Contains(place) && ListsProperties(place)))
                place["additionalProperties"] = false;
            return root.ToJsonString();
        }
        catch (JsonException)
        {
            return text; // whoever reads it next says what is wrong
        }
    }

    /// <summary>Notes which schemas stay open.</summary>
    /// <param name="node">A schema.</param>
    /// <param name="shared">Whether another one applies to the same object, or to one that this lies in.</param>
    private void Visit(JsonNode? node, bool shared)
    {
        if (node is not JsonObject schema) return;
        shared |= Combines(schema);
        if (!(shared ? _open.Add(schema) | _visited.Add(schema) : _visited.Add(schema))) return;
        foreach ((string keyword, JsonNode? value) in schema)
        {
            if (keyword == "$ref") Follow(value, shared);
            else if (Definitions.Contains(keyword)) VisitAll(value, shared: false);
            else if (keyword is not ("const" or "enum" or "default" or "examples" or "x-guidance")) VisitPart(keyword, value, shared);
        }
    }

    private void VisitPart(string keyword, JsonNode? value, bool shared)
    {
        if (value is JsonArray || keyword is "properties" or "patternProperties" or "dependentSchemas" or "dependencies") VisitAll(value, shared);
        else Visit(value, shared);
    }

    private void VisitAll(JsonNode? schemas, bool shared)
    {
        IEnumerable<JsonNode?> parts = schemas switch { JsonObject named => named.Select(part => part.Value), JsonArray list => list, _ => [] };
        foreach (JsonNode? part in parts) Visit(part, shared);
    }

    /// <summary>What a reference leads to is shared where the reference is.</summary>
    private void Follow(JsonNode? reference, bool shared)
    {
        string? pointer = reference is JsonValue value && value.TryGetValue(out string? text) ? text : null;
        JsonNode? place = pointer is ['#', ..] ? _root : null;
        foreach (string step in pointer is ['#', '/', .. string steps] ? steps.Split('/') : pointer is "#" ? [] : [""])
        {
            string name = Uri.UnescapeDataString(step).Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal);
            place = place switch
            {
                JsonObject named => named[name],
                JsonArray list when int.TryParse(name, out int index) && index < list.Count && index >= 0 => list[index],
                _ => null,
            };
        }
        if (place is null) _leadsAway = true; // by another way of naming: what is meant is not known
        else Visit(place, shared);
    }

    private static bool Combines(JsonObject schema) =>
        schema.Any(entry => Combining.Contains(entry.Key))
        || schema.Count(entry => Leading.Contains(entry.Key)) + (schema.ContainsKey("properties") || schema.ContainsKey("required") ? 1 : 0) > 1;

    private static bool ListsProperties(JsonObject schema) =>
        schema["properties"] is JsonObject properties && !schema.ContainsKey("additionalProperties")
        && (schema["required"] is not JsonArray required
            || required.All(name => name is JsonValue value && value.TryGetValue(out string? text) && properties.ContainsKey(text)));
}
