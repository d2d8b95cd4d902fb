namespace KvPrune.AI.Templates.Jinja;

/// <summary>
/// What Python does with values. A value is null, a bool, a long, a double, a <see cref="TaintedText"/>, a list
/// (<see cref="IReadOnlyList{T}"/>; a tuple is <see cref="TupleValue"/>), a mapping
/// (<see cref="IReadOnlyDictionary{TKey,TValue}"/> by text), <see cref="Undefined"/>, <see cref="LoopState"/>,
/// <see cref="GeneratorValue"/>, <see cref="NamespaceValue"/>, <see cref="MacroValue"/> or <see cref="FunctionReference"/>.
/// </summary>
internal static class Values
{
    public static bool IsTrue(object? value) => value switch
    {
        null or Undefined => false,
        bool flag => flag,
        long number => number != 0,
        double number => number != 0,
        TaintedText text => text.Length > 0,
        IReadOnlyList<object?> list => list.Count > 0,
        IReadOnlyDictionary<string, object?> map => map.Count > 0,
        _ => true,
    };

    /// <summary>A whole number; true and false count as 1 and 0, as in Python.</summary>
    public static long? AsNumber(object? value) => value switch
    {
        long number => number,
        bool flag => flag ? 1 : 0,
        _ => null,
    };

    /// <summary>A number of any kind.</summary>
    public static double? AsReal(object? value) => value is double real ? real : AsNumber(value);

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
                return a.Count == b.Count && a is TupleValue == b is TupleValue
                    && a.Zip(b).All(pair => AreEqual(pair.First, pair.Second, budget, depth + 1));
            case (IReadOnlyDictionary<string, object?> a, IReadOnlyDictionary<string, object?> b):
                return a.Count == b.Count && a.All(pair =>
                    b.TryGetValue(pair.Key, out object? other) && AreEqual(pair.Value, other, budget, depth + 1));
            case (null, null) or (Undefined, Undefined):
                return true;
            case (LoopState or GeneratorValue or NamespaceValue or MacroValue, _):
                return ReferenceEquals(left, right);
            default:
                return AsReal(left) is not null && AsReal(right) is not null && Compare("==", left, right, budget);
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
            case GeneratorValue generator:
                return generator.Take().Any(candidate => AreEqual(candidate, item, budget));
            case IReadOnlyDictionary<string, object?> map:
                return item is IReadOnlyList<object?> and not TupleValue or IReadOnlyDictionary<string, object?>
                    ? throw new TemplateFaultException($"{Describe(item)} cannot be a key.")
                    : item is TaintedText key && map.ContainsKey(key.Value);
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
        else if (AsReal(left) is double x && AsReal(right) is double y)
        {
            if (double.IsNaN(x) || double.IsNaN(y))
                return false;
            order = x.CompareTo(y);
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

        return @operator switch
        {
            "<" => order < 0,
            "<=" => order <= 0,
            ">" => order > 0,
            ">=" => order >= 0,
            _ => order == 0,
        };
    }

    public static string Describe(object? value) => value switch
    {
        null => "none",
        bool => "a truth value",
        long or double => "a number",
        TaintedText => "text",
        IReadOnlyList<object?> => "a list",
        IReadOnlyDictionary<string, object?> => "a mapping",
        Undefined undefined => $"'{undefined.Name}', which is undefined,",
        GeneratorValue => "what a filter gave (use the filter list)",
        NamespaceValue => "a namespace",
        MacroValue macro => $"the macro '{macro.Macro.Name}'",
        FunctionReference function => $"the function '{function.Name}'",
        _ => "the loop variable",
    };
}
