using System.Globalization;
using System.Text;

namespace KvPrune.AI.Templates.Jinja;

/// <summary>
/// The filter tojson as chat templates are written for: Python's json.dumps, with ensure_ascii off unless it is asked
/// for. Nothing is escaped for HTML.
/// </summary>
internal sealed class JsonOutput
{
    private const int WidestIndent = 16;

    private readonly TaintedTextBuilder _output;
    private readonly RenderBudget _budget;
    private readonly bool _isAscii;
    private readonly int? _indent;
    private readonly TaintedText _itemSeparator;
    private readonly TaintedText _keySeparator;
    private readonly bool _sortsKeys;

    private JsonOutput(CallArguments arguments, RenderBudget budget)
    {
        _output = new TaintedTextBuilder(budget);
        _budget = budget;
        _isAscii = Values.IsTrue(arguments[0]);
        _indent = ReadIndent(arguments[1]);
        _sortsKeys = Values.IsTrue(arguments[3]);
        (_itemSeparator, _keySeparator) = arguments[2] switch
        {
            null => (TaintedText.Trusted(_indent is null ? ", " : ","), TaintedText.Trusted(": ")),
            IReadOnlyList<object?> and [TaintedText item, TaintedText key] => (item, key),
            _ => throw new TemplateFaultException("the separators of tojson are a pair of texts."),
        };
    }

    /// <summary>Parameters of the filter: ensure_ascii, indent, separators, sort_keys.</summary>
    public static TaintedText Write(object? value, CallArguments arguments, RenderBudget budget)
    {
        var json = new JsonOutput(arguments, budget);
        json.WriteValue(value, depth: 0);
        return json._output.Build();
    }

    /// <summary>On one line, as the filter without arguments writes it.</summary>
    public static TaintedText Write(object? value, RenderBudget budget)
    {
        Callable filter = Filters.Find("tojson")!;
        return Write(value, new CallArguments(filter, new object?[filter.Parameters.Count], new bool[filter.Parameters.Count]), budget);
    }

    private static int? ReadIndent(object? indent)
    {
        if (indent is null)
            return null;
        return Values.AsNumber(indent) is long blanks and >= 0 and <= WidestIndent
            ? (int)blanks
            : throw new TemplateFaultException(
                $"the indent of tojson is a number from 0 to {WidestIndent}, not {Values.Describe(indent)}.");
    }

    private void WriteValue(object? value, int depth)
    {
        _budget.Spend(1);
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
            case double number:
                _output.Append(double.IsNaN(number) ? "NaN"
                    : double.IsInfinity(number) ? (number > 0 ? "Infinity" : "-Infinity")
                    : PythonFloat.Write(number));
                break;
            case TaintedText text:
                WriteString(text);
                break;
            case IReadOnlyList<object?> list:
                WriteItems('[', ']', list, depth, item => WriteValue(item, depth + 1));
                break;
            case IReadOnlyDictionary<string, object?> map:
                WriteItems('{', '}', Sorted(map), depth, pair =>
                {
                    WriteString(TaintedText.Untrusted(pair.Key));
                    _output.Append(_keySeparator);
                    WriteValue(pair.Value, depth + 1);
                });
                break;
            default:
                throw new TemplateFaultException($"{Values.Describe(value)} has no JSON form.");
        }
    }

    private IReadOnlyCollection<KeyValuePair<string, object?>> Sorted(IReadOnlyDictionary<string, object?> map)
    {
        if (!_sortsKeys)
            return map;
        _budget.Spend((long)map.Count * 8);
        return [.. map.OrderBy(pair => pair.Key, Comparer<string>.Create(PythonText.Compare))];
    }

    private void WriteItems<T>(char open, char close, IReadOnlyCollection<T> items, int depth, Action<T> write)
    {
        _output.Append([open]);
        bool isFirst = true;
        foreach (T item in items)
        {
            if (!isFirst)
                _output.Append(_itemSeparator);
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
        if (_indent is int blanks)
            _output.Append("\n" + new string(' ', blanks * depth));
    }

    private void WriteString(TaintedText text)
    {
        _output.Append("\"");
        foreach ((ReadOnlyMemory<char> part, bool isUntrusted) in text.Parts())
            _output.Append(Escape(part.Span), isUntrusted);
        _output.Append("\"");
    }

    private string Escape(ReadOnlySpan<char> text)
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
                _ when value < ' ' || (_isAscii && value > '~') =>
                    escaped.Append(CultureInfo.InvariantCulture, $"\\u{(int)value:x4}"),
                _ => escaped.Append(value),
            };
        }

        return escaped.ToString();
    }
}
