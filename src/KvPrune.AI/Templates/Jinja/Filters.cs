using System.Globalization;

namespace KvPrune.AI.Templates.Jinja;

/// <summary>The filters by name; map, select and their like are <see cref="ForEach"/>.</summary>
internal static class Filters
{
    private static readonly Dictionary<string, Callable> ByName = new Callable[]
    {
        Callable.Create("trim(chars?)", (value, arguments, budget) =>
            Methods.Strip(PythonText.ToText(value, budget), arguments, budget, left: true, right: true)),
        Callable.Create("tojson(ensure_ascii?, indent?, separators?, sort_keys?)", JsonOutput.Write),
        Callable.Create("length()", (value, _, budget) => Length(value, budget)),
        Callable.Create("default(default_value?, boolean?)", Default),
        Callable.Create("join(d?, attribute?)", Join),
        Callable.Create("first()", (value, _, budget) => AtEnd(value, isLast: false, budget)),
        Callable.Create("last()", (value, _, budget) => AtEnd(value, isLast: true, budget)),
        Callable.Create("list()", (value, _, budget) => List(value, budget)),
        Callable.Create("reverse()", (value, _, budget) => Reverse(value, budget)),
        Callable.Create("unique(case_sensitive?, attribute?)", Sorting.Unique),
        Callable.Create("sort(reverse?, case_sensitive?, attribute?)", Sorting.Sort),
        Callable.Create("dictsort(case_sensitive?, by?, reverse?)", Sorting.SortMap),
        Callable.Create("items()", (value, _, budget) => value switch
        {
            Undefined => new GeneratorValue([]),
            IReadOnlyDictionary<string, object?> map => new GeneratorValue(Access.Pairs(map, budget)),
            _ => throw new TemplateFaultException($"{Values.Describe(value)} has no keys and values."),
        }),
        Callable.Create("upper()", (value, _, budget) => PythonCase.Upper(PythonText.ToText(value, budget), budget)),
        Callable.Create("lower()", (value, _, budget) => PythonCase.Lower(PythonText.ToText(value, budget), budget)),
        Callable.Create("title()", (value, _, budget) => PythonCase.TitleFilter(PythonText.ToText(value, budget), budget)),
        Callable.Create("capitalize()", (value, _, budget) => PythonCase.Capitalize(PythonText.ToText(value, budget), budget)),
        Callable.Create("replace(old, new, count?)", (value, arguments, budget) => PythonSplit.Replace(
            PythonText.ToText(value, budget), PythonText.ToText(arguments[0], budget).Value,
            PythonText.ToText(arguments[1], budget), arguments.Number(2, -1), budget)),
        Callable.Create("indent(width?, first?, blank?)", Indent),
        Callable.Create("string()", (value, _, budget) => PythonText.ToText(value, budget)),
        // Marks text as safe for HTML, which is not escaped anyway.
        Callable.Create("safe()", (value, _, budget) => PythonText.ToText(value, budget)),
        Callable.Create("int(default?)", ToInteger),
        Callable.Create("float(default?)", ToReal),
        Callable.Create("abs()", (value, _, _) => value is double real ? Math.Abs(real)
            : Values.AsNumber(value) is long number and not long.MinValue ? (object)Math.Abs(number)
            : throw new TemplateFaultException($"{Values.Describe(value)} has no absolute value.")),
    }.ToDictionary(filter => filter.Name);

    private static readonly Dictionary<string, string> OtherNames = new() { ["count"] = "length", ["d"] = "default" };

    public static Callable? Find(string name) => ByName.GetValueOrDefault(OtherNames.GetValueOrDefault(name, name));

    private static long Length(object? value, RenderBudget budget)
    {
        switch (value)
        {
            case TaintedText text:
                budget.SpendOnText(text.Length);
                return PythonText.Length(text.Value);
            case IReadOnlyList<object?> list:
                return list.Count;
            case IReadOnlyDictionary<string, object?> map:
                return map.Count;
            case Undefined:
                return 0;
            default:
                throw new TemplateFaultException($"{Values.Describe(value)} has no length.");
        }
    }

    private static object? Default(object? value, CallArguments arguments, RenderBudget budget) =>
        value is Undefined || (Values.IsTrue(arguments[1]) && !Values.IsTrue(value))
            ? arguments.IsGiven(0) ? arguments[0] : TaintedText.Empty
            : value;

    private static TaintedText Join(object? value, CallArguments arguments, RenderBudget budget)
    {
        TaintedText separator = arguments.IsGiven(0) ? PythonText.ToText(arguments[0], budget) : TaintedText.Empty;
        var result = new TaintedTextBuilder(budget);
        bool isFirst = true;
        foreach (object? item in Access.Items(value, budget))
        {
            budget.Spend(1);
            if (!isFirst)
                result.Append(separator);
            isFirst = false;
            result.Append(PythonText.ToText(arguments[1] is null ? item : Access.Path(item, arguments[1], budget), budget));
        }

        return result.Build();
    }

    private static object? AtEnd(object? value, bool isLast, RenderBudget budget)
    {
        if (isLast && value is GeneratorValue)
            throw new TemplateFaultException($"{Values.Describe(value)} has no last item.");
        IReadOnlyList<object?> items = Access.Items(value, budget);
        return items.Count == 0 ? new Undefined("an item of nothing") : items[isLast ? items.Count - 1 : 0];
    }

    private static List<object?> List(object? value, RenderBudget budget)
    {
        IReadOnlyList<object?> items = Access.Items(value, budget);
        budget.Spend(items.Count);
        return [.. items];
    }

    private static object Reverse(object? value, RenderBudget budget)
    {
        if (value is TaintedText)
            return Slicing.Slice(value, null, null, -1, budget);
        List<object?> items = List(value, budget);
        items.Reverse();
        return new GeneratorValue(items);
    }

    private static TaintedText Indent(object? value, CallArguments arguments, RenderBudget budget)
    {
        TaintedText text = value as TaintedText
            ?? throw new TemplateFaultException($"only text can be indented, not {Values.Describe(value)}.");
        TaintedText blanks = arguments[0] is TaintedText prefix
            ? prefix
            : (TaintedText)ArithmeticOperations.Apply("*", TaintedText.Trusted(" "), arguments.Number(0, 4), budget)!;
        bool first = Values.IsTrue(arguments[1]);
        bool blank = Values.IsTrue(arguments[2]);
        // With a line end more, a line end at the end of the text leaves an empty last line.
        TaintedText ended = new TaintedTextBuilder(budget).Append(text).Append("\n").Build();
        List<object?> lines = PythonSplit.Lines(ended, keepsEnds: false, budget);
        var result = new TaintedTextBuilder(budget);
        for (int i = 0; i < lines.Count; i++)
        {
            var line = (TaintedText)lines[i]!;
            // Line ends may be written otherwise than they were, but belong to the text all the same.
            result.Append(i > 0 ? "\n" : "", isUntrusted: text.UntrustedSpans.Count > 0);
            if (i == 0 ? first : blank || line.Length > 0)
                result.Append(blanks);
            result.Append(line);
        }

        return result.Build();
    }

    private static object? ToInteger(object? value, CallArguments arguments, RenderBudget budget)
    {
        switch (value)
        {
            case long or bool:
                return Values.AsNumber(value);
            case double real when Math.Abs(real) < long.MaxValue:
                return (long)real;
            case TaintedText text:
                string digits = Trimmed(text, budget);
                if (long.TryParse(digits, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number))
                    return number;
                if (double.TryParse(digits, NumberStyles.Float, CultureInfo.InvariantCulture, out double parsed) && Math.Abs(parsed) < long.MaxValue)
                    return (long)parsed;
                break;
            case Undefined undefined:
                throw new TemplateFaultException($"'{undefined.Name}' is undefined, so it is no number.");
        }

        return arguments.IsGiven(0) ? arguments[0] : 0L;
    }

    private static object? ToReal(object? value, CallArguments arguments, RenderBudget budget)
    {
        if (Values.AsReal(value) is double real)
            return real;
        if (value is Undefined undefined)
            throw new TemplateFaultException($"'{undefined.Name}' is undefined, so it is no number.");
        if (value is TaintedText text
            && double.TryParse(Trimmed(text, budget), NumberStyles.Float, CultureInfo.InvariantCulture, out double parsed))
        {
            return parsed;
        }

        return arguments.IsGiven(0) ? arguments[0] : 0.0;
    }

    private static string Trimmed(TaintedText text, RenderBudget budget)
    {
        budget.SpendOnText(text.Length);
        return PythonText.Strip(text, null, left: true, right: true).Value;
    }
}
