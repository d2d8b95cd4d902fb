using System.Globalization;
using System.Text.Json;
using KvPrune.AI.Templates.Jinja;

namespace KvPrune.AI.Templates;

/// <summary>Turns messages and tools into the values that templates read.</summary>
internal sealed class TemplateVariables
{
    private readonly ToolConventions _conventions;
    private long _length;

    private TemplateVariables(ToolConventions conventions) => _conventions = conventions;

    /// <param name="conventions">What the template makes of tools.</param>
    /// <param name="messages">The conversation.</param>
    /// <param name="tools">The functions; none are offered where null.</param>
    /// <param name="budget">A budget that fits the length of what was given.</param>
    /// <exception cref="ArgumentException">
    /// A message is null, or its role or content is; or JSON holds text that is not valid Unicode.
    /// </exception>
    /// <exception cref="TemplateFaultException">Tools or calls that the template is given as text cannot be written.</exception>
    public static Dictionary<string, object?> Create(
        ToolConventions conventions, IReadOnlyList<TemplateMessage> messages, IReadOnlyList<JsonElement>? tools, out RenderBudget budget)
    {
        var reader = new TemplateVariables(conventions);
        List<object?> turns = [];
        foreach (TemplateMessage message in messages)
        {
            if (message?.Role is null || message.Content is null)
                throw new ArgumentException($"Message {turns.Count} is null, or its role or content is.", nameof(messages));
            turns.Add(reader.Message(message));
        }

        List<object?>? functions = tools is { Count: > 0 } ? [.. tools.Select(reader.FromJson)] : null;
        if (functions is not null && conventions.Placement == ToolPlacement.SystemMessage)
            reader.AddToSystemMessage(turns, functions);
        budget = new RenderBudget(reader._length);
        var variables = new Dictionary<string, object?> { ["messages"] = turns, ["tools"] = functions, ["documents"] = null };
        // The name that SmolLM3 has for tools that are called in this format.
        if (functions is not null)
            variables["xml_tools"] = functions;
        return variables;
    }

    private Dictionary<string, object?> Message(TemplateMessage message)
    {
        string role = message.Role == "tool" ? _conventions.ToolRole : message.Role;
        var values = new Dictionary<string, object?>
        {
            ["role"] = TaintedText.Trusted(role),
            ["content"] = Untrusted(message.Content),
        };
        if (message.ToolCalls.Count > 0 && _conventions.WritesCallsAsText)
            values["content"] = WithCalls(message);
        else if (message.ToolCalls.Count > 0)
            values["tool_calls"] = message.ToolCalls.Select(ToolCall).ToList();
        if (message.ToolCallId is { } id)
            values["tool_call_id"] = Untrusted(id);
        if (message.ToolName is { } name)
            values["name"] = Untrusted(name);
        return values;
    }

    private object? ToolCall(TemplateToolCall call) => new Dictionary<string, object?>
    {
        ["id"] = Untrusted(call.Id),
        ["type"] = TaintedText.Trusted("function"),
        ["function"] = new Dictionary<string, object?>
        {
            ["name"] = Untrusted(call.Name),
            ["arguments"] = FromJson(call.Arguments),
        },
    };

    // Such a template writes an answer as it is: calls have to be part of its text, in the model's own marks.
    private TaintedText WithCalls(TemplateMessage message)
    {
        ToolCallFormat format = _conventions.CallFormat!;
        List<object?> calls =
        [
            .. message.ToolCalls.Select(call => new Dictionary<string, object?>
            {
                ["name"] = Untrusted(call.Name),
                ["arguments"] = FromJson(call.Arguments),
            }),
        ];
        var budget = new RenderBudget(_length);
        var text = new TaintedTextBuilder(budget).Append(Untrusted(message.Content));
        if (format.IsList)
            return text.Append(format.Opening).Append(JsonOutput.Write(calls, budget)).Append(format.Closing).Build();
        bool isFirst = message.Content.Length == 0;
        foreach (object? call in calls)
        {
            text.Append(isFirst ? "" : "\n").Append(format.Opening + "\n").Append(JsonOutput.Write(call, budget))
                .Append("\n" + format.Closing);
            isFirst = false;
        }

        return text.Build();
    }

    private void AddToSystemMessage(List<object?> turns, List<object?> functions)
    {
        // The functions themselves, without the "type" around them.
        List<object?> plain = functions.ConvertAll(tool =>
            tool is Dictionary<string, object?> map && map.TryGetValue("function", out object? function) ? function : tool);
        if (turns is not [Dictionary<string, object?> first, ..] || ((TaintedText)first["role"]!).Value != "system")
        {
            first = Message(new TemplateMessage("system", ""));
            turns.Insert(0, first);
        }

        first["tools"] = JsonOutput.Write(plain, new RenderBudget(_length));
    }

    private object? FromJson(JsonElement element)
    {
        try
        {
            return Value(element);
        }
        catch (InvalidOperationException exception)
        {
            // JsonElement reports escapes of unpaired surrogates this way, and only when the string is read.
            throw new ArgumentException("A tool or the arguments of a call hold a string that is not valid Unicode.", exception);
        }
    }

    private object? Value(JsonElement element)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.String:
                return Untrusted(element.GetString()!);
            case JsonValueKind.Number:
                return FromNumber(element.GetRawText());
            case JsonValueKind.True or JsonValueKind.False:
                return element.GetBoolean();
            case JsonValueKind.Array:
                return element.EnumerateArray().Select(Value).ToList();
            case JsonValueKind.Object:
                var map = new Dictionary<string, object?>();
                foreach (JsonProperty property in element.EnumerateObject())
                {
                    _length += property.Name.Length;
                    map[property.Name] = Value(property.Value);
                }

                return map;
            default:
                return null;
        }
    }

    // Whole numbers beyond 64 bits become floating-point ones.
    private static object FromNumber(string number) =>
        long.TryParse(number, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long whole)
            ? whole
            : (object)double.Parse(number, NumberStyles.Float, CultureInfo.InvariantCulture);

    private TaintedText Untrusted(string text)
    {
        _length += text.Length;
        return TaintedText.Untrusted(text);
    }
}
