using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace KvPrune.AI.Chat;

/// <summary>Reads the JSON that models write calls as.</summary>
internal static class ToolCallReader
{
    // Mistral's templates take nothing but nine letters and digits.
    private const string IdCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    private const int IdLength = 9;

    /// <summary>
    /// The calls of a text: one or several JSON objects, or lists of them, with nothing but white space and ";" around them.
    /// An object has the entry "name", and "arguments" or "parameters", an object or the text of one.
    /// </summary>
    /// <param name="text">The text.</param>
    /// <param name="isIncomplete">Whether the text may be the beginning of calls.</param>
    /// <returns>Null if the text is anything else.</returns>
    public static List<FunctionCallContent>? Read(string text, out bool isIncomplete)
    {
        isIncomplete = false;
        List<FunctionCallContent> calls = [];
        try
        {
            ReadOnlySpan<byte> rest = Encoding.UTF8.GetBytes(text);
            while (!(rest = rest.TrimStart(" \t\r\n;"u8)).IsEmpty)
            {
                var reader = new Utf8JsonReader(rest, isFinalBlock: false, state: default);
                if (!JsonElement.TryParseValue(ref reader, out JsonElement? value))
                {
                    isIncomplete = true;
                    return null;
                }
                rest = rest[(int)reader.BytesConsumed..];
                IEnumerable<JsonElement> items = value.Value.ValueKind == JsonValueKind.Array ? value.Value.EnumerateArray() : [value.Value];
                foreach (JsonElement item in items)
                {
                    if (Call(item) is not { } call) return null;
                    calls.Add(call);
                }
            }
        }
        catch (JsonException)
        {
            return null;
        }
        catch (InvalidOperationException)
        {
            return null; // escapes of unpaired surrogates, which are found when a string is read
        }
        return calls.Count > 0 ? calls : null;
    }

    private static FunctionCallContent? Call(JsonElement item)
    {
        if (item.ValueKind != JsonValueKind.Object
            || !item.TryGetProperty("name", out JsonElement name) || name.ValueKind != JsonValueKind.String) return null;
        if (!item.TryGetProperty("arguments", out JsonElement arguments)) item.TryGetProperty("parameters", out arguments);
        if (arguments.ValueKind == JsonValueKind.String) arguments = JsonElement.Parse(arguments.GetString()!);
        Dictionary<string, object?> values = [];
        if (arguments.ValueKind is not (JsonValueKind.Undefined or JsonValueKind.Null))
        {
            if (arguments.ValueKind != JsonValueKind.Object) return null;
            foreach (JsonProperty argument in arguments.EnumerateObject())
            {
                Materialise(argument.Value);
                values[argument.Name] = argument.Value;
            }
        }
        return new FunctionCallContent(RandomNumberGenerator.GetString(IdCharacters, IdLength), name.GetString()!, values);
    }

    // Strings that are no valid Unicode are found here rather than where a function reads them.
    private static void Materialise(JsonElement value)
    {
        if (value.ValueKind == JsonValueKind.String) value.GetString();
        else if (value.ValueKind == JsonValueKind.Array) foreach (JsonElement item in value.EnumerateArray()) Materialise(item);
        else if (value.ValueKind == JsonValueKind.Object)
        {
            foreach (JsonProperty property in value.EnumerateObject())
            {
                _ = property.Name;
                Materialise(property.Value);
            }
        }
    }
}
