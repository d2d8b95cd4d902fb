using System.Globalization;

namespace KvPrune.AI.Templates.Jinja;

/// <summary>
/// What Python does with values. A value is null, a bool, a long, a <see cref="TaintedText"/>, a list
/// (<see cref="IReadOnlyList{T}"/>), a mapping (<see cref="IReadOnlyDictionary{TKey,TValue}"/> by text), an
/// <see cref="Undefined"/> or a <see cref="LoopState"/>.
/// </summary>
internal static class Values
{
    public static bool IsTrue(object? value) => value switch
    {
        null or Undefined => false,
        bool flag => flag,
        long number => number != 0,
        TaintedText text => text.Length > 0,
        IReadOnlyList<object?> list => list.Count > 0,
        IReadOnlyDictionary<string, object?> map => map.Count > 0,
        _ => true,
    };

    /// <summary>The text that printing a value gives.</summary>
    public static TaintedText ToText(object? value) => value switch
    {
        TaintedText text => text,
        null => TaintedText.Trusted("None"),
        Undefined => TaintedText.Empty,
        bool flag => TaintedText.Trusted(flag ? "True" : "False"),
        long number => TaintedText.Trusted(number.ToString(CultureInfo.InvariantCulture)),
        _ => throw new TemplateFaultException($"{Describe(value)} cannot be written as text; use tojson."),
    };

    /// <summary>A number; true and false count as 1 and 0, as in Python.</summary>
    public static long? AsNumber(object? value) => value switch
    {
        long number => number,
        bool flag => flag ? 1 : 0,
        _ => null,
    };

    public static bool AreEqual(object? left, object? right, RenderBudget budget, int depth = 0)
    {
        budget.Spend(1);
        if (depth > TemplateLimits.ValueNesting)
            throw new TemplateFaultException("a value is nested too deeply.");
        switch (left, right)
        {
            case (TaintedText a, TaintedText b):
                budget.SpendOnText(Math.Min(a.Length, b.Length));
                return a.Value == b.Value;
            case (IReadOnlyList<object?> a, IReadOnlyList<object?> b):
                return a.Count == b.Count && a.Zip(b).All(pair => AreEqual(pair.First, pair.Second, budget, depth + 1));
            case (IReadOnlyDictionary<string, object?> a, IReadOnlyDictionary<string, object?> b):
                return a.Count == b.Count && a.All(pair =>
                    b.TryGetValue(pair.Key, out object? other) && AreEqual(pair.Value, other, budget, depth + 1));
            case (null, null) or (Undefined, Undefined):
                return true;
            case (LoopState, _):
                return ReferenceEquals(left, right);
            default:
                return AsNumber(left) is long number && AsNumber(right) == number;
        }
    }

    public static bool Contains(object? container, object? item, RenderBudget budget)
    {
        switch (container)
        {
            case TaintedText text when item is TaintedText part:
                budget.SpendOnText(text.Length);
                return text.Value.Contains(part.Value, StringComparison.Ordinal);
            case IReadOnlyList<object?> list:
                return list.Any(candidate => AreEqual(candidate, item, budget));
            case IReadOnlyDictionary<string, object?> map:
                return item is TaintedText key && map.ContainsKey(key.Value);
            case Undefined:
                return false;
            case TaintedText:
                throw new TemplateFaultException($"only text can be looked for in text, not {Describe(item)}.");
            default:
                throw new TemplateFaultException($"nothing can be looked for in {Describe(container)}.");
        }
    }

    public static bool Compare(string @operator, object? left, object? right, RenderBudget budget)
    {
        int order;
        if (AsNumber(left) is long a && AsNumber(right) is long b)
        {
            order = a.CompareTo(b);
        }
        else if (left is TaintedText leftText && right is TaintedText rightText)
        {
            budget.SpendOnText(Math.Min(leftText.Length, rightText.Length));
            order = PythonText.Compare(leftText.Value, rightText.Value);
        }
        else
        {
            throw new TemplateFaultException($"'{@operator}' does not order {Describe(left)} and {Describe(right)}.");
        }

        return @operator switch { "<" => order < 0, "<=" => order <= 0, ">" => order > 0, _ => order >= 0 };
    }

    public static string Describe(object? value) => value switch
    {
        null => "none",
        bool => "a truth value",
        long => "a number",
        TaintedText => "text",
        IReadOnlyList<object?> => "a list",
        IReadOnlyDictionary<string, object?> => "a mapping",
        Undefined undefined => $"'{undefined.Name}', which is undefined,",
        _ => "the loop variable",
    };
}
