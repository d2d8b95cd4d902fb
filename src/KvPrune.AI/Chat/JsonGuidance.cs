using System.Text.Json;
using System.Text.Json.Nodes;
using KvPrune.AI.Sampling;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Chat;

/// <summary>The grammar that a JSON response format asks for.</summary>
internal static class JsonGuidance
{
    /// <summary>JSON of the format's schema, or any object, on one line with one space after ':' and ','.</summary>
    /// <remarks>
    /// Where JSON's white space is free, a model may write nothing else until its answer is cut. A schema with an entry
    /// "x-guidance", the grammar engine's own, keeps it.
    /// </remarks>
    public static Guidance Create(ChatResponseFormatJson format)
    {
        // true and false are schemas too, and have no entries.
        if (format.Schema is { ValueKind: not JsonValueKind.Object } schema) return Guidance.JsonSchema(schema.GetRawText());
        JsonObject root = format.Schema is { } given ? JsonObject.Create(given)! : new JsonObject { ["type"] = "object" };
        root.TryAdd("x-guidance", new JsonObject { ["whitespace_flexible"] = false, ["item_separator"] = ", ", ["key_separator"] = ": " });
        return Guidance.JsonSchema(root.ToJsonString());
    }
}
