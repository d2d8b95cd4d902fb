using System.Text.Json;
using System.Text.Json.Nodes;
using KvPrune.AI.Sampling;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>
/// JSON allows any white space between its tokens, and a small model that begins to write spaces may never end. So an
/// answer has the separators that most JSON on one line has, and no other white space.
/// </summary>
internal static class JsonSchemaSeparators
{
    // llguidance's entry for the form of the text; a schema that brings its own keeps it.
    private const string Form = "x-guidance";

    // llguidance reads 127 levels.
    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = 128 };

    /// <summary>The schema with that form.</summary>
    /// <exception cref="ArgumentException">The schema is not JSON, nested too deep, or has an entry twice.</exception>
    public static string Fix(string schema)
    {
        try
        {
            if (JsonNode.Parse(schema, documentOptions: Strict) is not JsonObject entries || entries.ContainsKey(Form)) return schema;
            entries[Form] = new JsonObject { ["whitespace_flexible"] = false, ["item_separator"] = ", ", ["key_separator"] = ": " };
            return entries.ToJsonString();
        }
        catch (JsonException error)
        {
            throw new ArgumentException($"The grammar ({Guidance.JsonSchemaKind}) cannot be used: {error.Message}", nameof(schema), error);
        }
    }
}
