using System.Globalization;
using System.Text;

namespace KvPrune.AI.Templates.Jinja;

/// <summary>
/// The filter tojson as chat templates are written for: Python's json.dumps with ensure_ascii off. Nothing is escaped
/// for HTML.
/// </summary>
internal sealed class JsonOutput(int? indent, RenderBudget budget)
{
    private const int WidestIndent = 16;

    private readonly TaintedTextBuilder _output = new(budget);

    /// <param name="value">The value.</param>
    /// <param name="indent">
    /// none, or the number of blanks a level is set in by, with every item on a line of its own.
    /// </param>
    /// <param name="budget">The budget.</param>
    public static TaintedText Write(object? value, object? indent, RenderBudget budget)
    {
        if (indent is not null && (Values.AsNumber(indent) is not long blanks || blanks is < 0 or > WidestIndent))
        {
            throw new TemplateFaultException(
                $"the indent of tojson is a number from 0 to {WidestIndent}, not {Values.Describe(indent)}.");
        }

        var json = new JsonOutput((int?)Values.AsNumber(indent), budget);
        json.WriteValue(value, depth: 0);
        return json._output.Build();
    }

    private void WriteValue(object? value, int depth)
    {
        if (depth > TemplateLimits.ValueNesting)
            throw new TemplateFaultException("a value is nested too deeply.");
        switch (value)
        {
            case null:
                _output.Append("null");
                break;
            case bool flag:
                _output.Append(flag ? "true" : "false");
                break;
            case long number:
                _output.Append(number.ToString(CultureInfo.InvariantCulture));
                break;
            case TaintedText text:
                WriteString(text);
                break;
            case IReadOnlyList<object?> list:
                WriteItems('[', ']', list, depth, item => WriteValue(item, depth + 1));
                break;
            case IReadOnlyDictionary<string, object?> map:
                WriteItems('{', '}', map, depth, pair =>
                {
                    WriteString(TaintedText.Untrusted(pair.Key));
                    _output.Append(": ");
                    WriteValue(pair.Value, depth + 1);
                });
                break;
            default:
                throw new TemplateFaultException($"{Values.Describe(value)} has no JSON form.");
        }
    }

    private void WriteItems<T>(char open, char close, IReadOnlyCollection<T> items, int depth, Action<T> write)
    {
        _output.Append([open]);
        bool isFirst = true;
        foreach (T item in items)
        {
            if (!isFirst)
                _output.Append(indent is null ? ", " : ",");
            isFirst = false;
            BreakLine(depth + 1);
            write(item);
        }

        if (!isFirst)
            BreakLine(depth);
        _output.Append([close]);
    }

    private void BreakLine(int depth)
    {
        if (indent is int blanks)
            _output.Append("\n" + new string(' ', blanks * depth));
    }

    private void WriteString(TaintedText text)
    {
        _output.Append("\"");
        foreach ((ReadOnlyMemory<char> part, bool isUntrusted) in text.Parts())
            _output.Append(Escape(part.Span), isUntrusted);
        _output.Append("\"");
    }

    private static string Escape(ReadOnlySpan<char> text)
    {
        var escaped = new StringBuilder(text.Length + 8);
        foreach (char value in text)
        {
            _ = value switch
            {
                '"' => escaped.Append("\\\""),
                '\\' => escaped.Append("\\\\"),
                '\n' => escaped.Append("\\n"),
                '\r' => escaped.Append("\\r"),
                '\t' => escaped.Append("\\t"),
                '\f' => escaped.Append("\\f"),
                '\b' => escaped.Append("\\b"),
                < ' ' => escaped.Append(CultureInfo.InvariantCulture, $"\\u{(int)value:x4}"),
                _ => escaped.Append(value),
            };
        }

        return escaped.ToString();
    }
}
