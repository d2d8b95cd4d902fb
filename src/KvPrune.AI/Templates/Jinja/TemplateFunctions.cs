namespace KvPrune.AI.Templates.Jinja;

/// <summary>The functions that templates can call besides their macros.</summary>
internal static class TemplateFunctions
{
    private const string Raise = "raise_exception";
    private const string Now = "strftime_now";

    public static IReadOnlyList<string> Names { get; } = [Raise, Now, "range", "namespace", "dict"];

    /// <summary>Why a call cannot be meant; null if it can.</summary>
    public static string? FindProblem(FunctionCall call)
    {
        int count = call.Positional.Count;
        switch (call.Function)
        {
            case Raise or Now when count == 0:
                return $"{call.Function} needs a {(call.Function == Raise ? "message" : "format")}.";
            case Raise or Now when count > 1 || call.Named.Count > 0:
                return $"'{call.Function}' takes one argument, without a name.";
            case Now when call.Positional[0] is Constant { Value: TaintedText format }:
                return FindProblem(format.Value);
            case "range" when count is 0 or > 3 || call.Named.Count > 0:
                return "'range' takes one to three arguments, without names.";
            case "namespace" or "dict" when count > 1:
                return $"'{call.Function}' takes one argument without a name.";
            case Raise or Now or "range" or "namespace" or "dict":
                return null;
            default:
                return $"the function '{call.Function}' is not supported.";
        }
    }

    /// <exception cref="TemplateFaultException">The arguments are wrong.</exception>
    /// <exception cref="ChatTemplateRaisedException">The function is raise_exception.</exception>
    public static object Call(
        FunctionCall call, IReadOnlyList<object?> positional, IReadOnlyDictionary<string, object?> named,
        TemplateSource source, TimeProvider clock, RenderBudget budget) => call.Function switch
    {
        Raise => throw new ChatTemplateRaisedException(
            source.File, call.Line, PythonText.ToText(positional[0], budget).Value),
        Now => FormatNow(positional[0], clock, budget),
        "range" => Range(positional, budget),
        "namespace" => new NamespaceValue(Map(positional, named, budget)),
        _ => Map(positional, named, budget),
    };

    private static string? FindProblem(string format)
    {
        try
        {
            Strftime.Format(format, default);
            return null;
        }
        catch (TemplateFaultException fault)
        {
            return fault.Message;
        }
    }

    private static TaintedText FormatNow(object? format, TimeProvider clock, RenderBudget budget)
    {
        if (format is not TaintedText text)
            throw new TemplateFaultException($"the format of strftime_now is text, not {Values.Describe(format)}.");
        budget.Spend(4L * text.Length);
        string now = Strftime.Format(text.Value, clock.GetLocalNow());
        return text.UntrustedSpans.Count > 0 ? TaintedText.Untrusted(now) : TaintedText.Trusted(now);
    }

    private static List<object?> Range(IReadOnlyList<object?> arguments, RenderBudget budget)
    {
        long[] bounds = [.. arguments.Select(argument => Values.AsNumber(argument)
            ?? throw new TemplateFaultException($"a range has bounds that are whole numbers, not {Values.Describe(argument)}."))];
        (Int128 start, Int128 stop, Int128 step) = bounds switch
        {
            [var end] => (0, end, 1),
            [var first, var end] => (first, end, 1),
            _ => (bounds[0], bounds[1], bounds[2]),
        };
        if (step == 0)
            throw new TemplateFaultException("the step of a range is zero.");
        Int128 count = step > 0 ? (stop - start + step - 1) / step : (start - stop - step - 1) / -step;
        if (count > TemplateLimits.RangeItems)
            throw new TemplateFaultException($"a range has more than {TemplateLimits.RangeItems} items.");
        var items = new List<object?>();
        for (Int128 i = 0; i < count; i++)
            items.Add((long)(start + i * step));
        budget.Spend(items.Count);
        return items;
    }

    private static Dictionary<string, object?> Map(
        IReadOnlyList<object?> positional, IReadOnlyDictionary<string, object?> named, RenderBudget budget)
    {
        var map = new Dictionary<string, object?>();
        if (positional.Count > 0)
        {
            if (positional[0] is not IReadOnlyDictionary<string, object?> first)
                throw new TemplateFaultException($"a mapping is expected, not {Values.Describe(positional[0])}.");
            budget.Spend(first.Count);
            foreach ((string key, object? value) in first)
                map[key] = value;
        }

        foreach ((string key, object? value) in named)
            map[key] = value;
        return map;
    }
}
