using System.Globalization;
using System.Text;

namespace KvPrune.AI.Templates.Jinja;

/// <summary>Lists and mappings as Python's <c>repr</c> writes them.</summary>
internal sealed class PythonLiteral
{
    private readonly TaintedTextBuilder _output;
    private readonly RenderBudget _budget;

    private PythonLiteral(RenderBudget budget)
    {
        _output = new TaintedTextBuilder(budget);
        _budget = budget;
    }

    public static TaintedText Write(object? value, RenderBudget budget)
    {
        var literal = new PythonLiteral(budget);
        literal.WriteValue(value, depth: 0);
        return literal._output.Build();
    }

    private void WriteValue(object? value, int depth)
    {
        _budget.Spend(1);
        if (depth > TemplateLimits.ValueNesting)
            throw new TemplateFaultException("a value is nested too deeply.");
        switch (value)
        {
            case TaintedText text:
                WriteString(text);
                break;
            case IReadOnlyList<object?> list:
                WriteList(list, depth);
                break;
            case IReadOnlyDictionary<string, object?> map:
                WriteMap(map, depth);
                break;
            case Undefined:
                _output.Append("Undefined");
                break;
            default:
                _output.Append(PythonText.ToText(value, _budget));
                break;
        }
    }

    private void WriteList(IReadOnlyList<object?> list, int depth)
    {
        bool isTuple = list is TupleValue;
        _output.Append(isTuple ? "(" : "[");
        for (int i = 0; i < list.Count; i++)
        {
            _output.Append(i > 0 ? ", " : "");
            WriteValue(list[i], depth + 1);
        }

        _output.Append(isTuple && list.Count == 1 ? ",)" : isTuple ? ")" : "]");
    }

    private void WriteMap(IReadOnlyDictionary<string, object?> map, int depth)
    {
        _output.Append("{");
        bool isFirst = true;
        foreach ((string key, object? item) in map)
        {
            _output.Append(isFirst ? "" : ", ");
            isFirst = false;
            WriteString(TaintedText.Untrusted(key));
            _output.Append(": ");
            WriteValue(item, depth + 1);
        }

        _output.Append("}");
    }

    private void WriteString(TaintedText text)
    {
        char quote = text.Value.Contains('\'', StringComparison.Ordinal) && !text.Value.Contains('"', StringComparison.Ordinal)
            ? '"' : '\'';
        _output.Append([quote]);
        foreach ((ReadOnlyMemory<char> part, bool isUntrusted) in text.Parts())
            _output.Append(Escape(part.Span, quote), isUntrusted);
        _output.Append([quote]);
    }

    private static string Escape(ReadOnlySpan<char> text, char quote)
    {
        var escaped = new StringBuilder(text.Length + 8);
        while (!text.IsEmpty)
        {
            Rune.DecodeFromUtf16(text, out Rune rune, out int length);
            int code = length == 1 ? text[0] : rune.Value;
            _ = code switch
            {
                '\\' => escaped.Append("\\\\"),
                '\n' => escaped.Append("\\n"),
                '\r' => escaped.Append("\\r"),
                '\t' => escaped.Append("\\t"),
                _ when code == quote => escaped.Append('\\').Append(quote),
                _ when IsPrintable(code) => escaped.Append(text[..length]),
                <= 0xFF => escaped.Append(CultureInfo.InvariantCulture, $"\\x{code:x2}"),
                <= 0xFFFF => escaped.Append(CultureInfo.InvariantCulture, $"\\u{code:x4}"),
                _ => escaped.Append(CultureInfo.InvariantCulture, $"\\U{code:x8}"),
            };
            text = text[length..];
        }

        return escaped.ToString();
    }

    private static bool IsPrintable(int code) => code == ' ' || CharUnicodeInfo.GetUnicodeCategory(code)
        is not (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse
            or UnicodeCategory.OtherNotAssigned or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
            or UnicodeCategory.SpaceSeparator);
}
