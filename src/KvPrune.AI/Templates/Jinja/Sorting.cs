namespace KvPrune.AI.Templates.Jinja;

/// <summary>The filters sort, dictsort and unique; like Jinja's, they take letters of either case for equal unless told not to.</summary>
internal static class Sorting
{
    public static List<object?> Sort(object? value, CallArguments arguments, RenderBudget budget)
    {
        bool isCaseSensitive = Values.IsTrue(arguments[1]);
        List<(object?[] Keys, object? Item)> keyed = [];
        foreach (object? item in Access.Items(value, budget))
            keyed.Add(([.. KeysOf(item, arguments[2], budget).Select(key => Key(key, isCaseSensitive, budget))], item));
        return Sorted(keyed, Values.IsTrue(arguments[0]), budget);
    }

    public static List<object?> SortMap(object? value, CallArguments arguments, RenderBudget budget)
    {
        if (value is not IReadOnlyDictionary<string, object?> map)
            throw new TemplateFaultException($"{Values.Describe(value)} has no keys to sort by.");
        bool isCaseSensitive = Values.IsTrue(arguments[0]);
        string by = arguments.Text(1)?.Value ?? "key";
        if (by is not ("key" or "value"))
            throw new TemplateFaultException($"dictsort sorts by 'key' or 'value', not by '{by}'.");
        List<(object?[] Keys, object? Item)> keyed = [];
        foreach (object? pair in Access.Pairs(map, budget))
            keyed.Add(([Key(((TupleValue)pair!)[by == "key" ? 0 : 1], isCaseSensitive, budget)], pair));
        return Sorted(keyed, Values.IsTrue(arguments[2]), budget);
    }

    public static GeneratorValue Unique(object? value, CallArguments arguments, RenderBudget budget)
    {
        bool isCaseSensitive = Values.IsTrue(arguments[0]);
        var keys = new List<object?>();
        var items = new List<object?>();
        foreach (object? item in Access.Items(value, budget))
        {
            object? key = Key(arguments[1] is null ? item : Access.Path(item, arguments[1], budget), isCaseSensitive, budget);
            if (key is IReadOnlyList<object?> and not TupleValue or IReadOnlyDictionary<string, object?>)
                throw new TemplateFaultException($"unique does not work on {Values.Describe(key)}.");
            if (keys.Any(other => Values.AreEqual(other, key, budget)))
                continue;
            keys.Add(key);
            items.Add(item);
        }

        return new GeneratorValue(items);
    }

    // sort takes several attributes with commas between them.
    private static IEnumerable<object?> KeysOf(object? item, object? attribute, RenderBudget budget) => attribute switch
    {
        null => [item],
        TaintedText text => text.Value.Split(',').Select(part => Access.Path(item, TaintedText.Trusted(part), budget)),
        _ => [Access.Path(item, attribute, budget)],
    };

    private static object? Key(object? key, bool isCaseSensitive, RenderBudget budget) =>
        key is TaintedText text && !isCaseSensitive ? PythonCase.Lower(text, budget) : key;

    // Merge sort: stable, and what the comparison throws comes out as it is.
    private static List<object?> Sorted(List<(object?[] Keys, object? Item)> items, bool isReversed, RenderBudget budget)
    {
        if (items.Count < 2)
            return items.ConvertAll(item => item.Item);
        var from = items.ToArray();
        var to = new (object?[] Keys, object? Item)[from.Length];
        for (int width = 1; width < from.Length; width *= 2)
        {
            for (int start = 0; start < from.Length; start += 2 * width)
                Merge(from, to, start, Math.Min(start + width, from.Length), Math.Min(start + 2 * width, from.Length), isReversed, budget);
            (from, to) = (to, from);
        }

        return [.. from.Select(item => item.Item)];
    }

    private static void Merge(
        (object?[] Keys, object? Item)[] from, (object?[] Keys, object? Item)[] to,
        int start, int middle, int end, bool isReversed, RenderBudget budget)
    {
        int left = start;
        int right = middle;
        for (int i = start; i < end; i++)
        {
            budget.Spend(1);
            bool takesRight = left == middle || (right < end && (isReversed
                ? IsLess(from[left].Keys, from[right].Keys, budget)
                : IsLess(from[right].Keys, from[left].Keys, budget)));
            to[i] = takesRight ? from[right++] : from[left++];
        }
    }

    // Keys are compared like lists in Python: only the first pair that differs has to have an order.
    private static bool IsLess(object?[] left, object?[] right, RenderBudget budget)
    {
        for (int i = 0; i < left.Length; i++)
        {
            if (!Values.AreEqual(left[i], right[i], budget))
                return Values.Compare("<", left[i], right[i], budget);
        }

        return false;
    }
}
