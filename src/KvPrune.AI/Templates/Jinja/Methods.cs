namespace KvPrune.AI.Templates.Jinja;

/// <summary>The methods of texts and mappings by name; none is a method of both.</summary>
internal static class Methods
{
    private static readonly Dictionary<string, Callable> Text = new Callable[]
    {
        OnText("strip(chars?)", (text, arguments, budget) => Strip(text, arguments, budget, left: true, right: true)),
        OnText("lstrip(chars?)", (text, arguments, budget) => Strip(text, arguments, budget, left: true, right: false)),
        OnText("rstrip(chars?)", (text, arguments, budget) => Strip(text, arguments, budget, left: false, right: true)),
        OnText("split(sep?, maxsplit?)", (text, arguments, budget) =>
            PythonSplit.Split(text, arguments.Text(0)?.Value, arguments.Number(1, -1), fromEnd: false, budget)),
        OnText("rsplit(sep?, maxsplit?)", (text, arguments, budget) =>
            PythonSplit.Split(text, arguments.Text(0)?.Value, arguments.Number(1, -1), fromEnd: true, budget)),
        OnText("splitlines(keepends?)", (text, arguments, budget) =>
            PythonSplit.Lines(text, Values.IsTrue(arguments[0]), budget)),
        OnText("startswith(prefix)", (text, arguments, budget) => Ends(text, arguments, budget, (whole, part) =>
            whole.StartsWith(part, StringComparison.Ordinal))),
        OnText("endswith(suffix)", (text, arguments, budget) => Ends(text, arguments, budget, (whole, part) =>
            whole.EndsWith(part, StringComparison.Ordinal))),
        OnText("removeprefix(prefix)", (text, arguments, budget) =>
            text.Value.StartsWith(arguments.RequiredText(0).Value, StringComparison.Ordinal)
                ? text.Substring(arguments.RequiredText(0).Length, text.Length - arguments.RequiredText(0).Length) : text),
        OnText("removesuffix(suffix)", (text, arguments, budget) =>
            text.Value.EndsWith(arguments.RequiredText(0).Value, StringComparison.Ordinal)
                ? text.Substring(0, text.Length - arguments.RequiredText(0).Length) : text),
        OnText("replace(old, new, count?)", (text, arguments, budget) => PythonSplit.Replace(
            text, arguments.RequiredText(0).Value, arguments.RequiredText(1), arguments.Number(2, -1), budget)),
        OnText("lower()", (text, _, budget) => PythonCase.Lower(text, budget)),
        OnText("upper()", (text, _, budget) => PythonCase.Upper(text, budget)),
        OnText("title()", (text, _, budget) => PythonCase.TitleMethod(text, budget)),
        OnText("capitalize()", (text, _, budget) => PythonCase.Capitalize(text, budget)),
        OnText("join(iterable)", (text, arguments, budget) => Join(text, arguments[0], budget)),
        OnText("find(sub)", (text, arguments, budget) => Position(text, arguments, budget, fromEnd: false)),
        OnText("rfind(sub)", (text, arguments, budget) => Position(text, arguments, budget, fromEnd: true)),
        Callable.Create("count(value)", (value, arguments, budget) => value switch
        {
            TaintedText text => Count(text, arguments.RequiredText(0).Value, budget),
            IReadOnlyList<object?> list => (long)list.Count(item => Values.AreEqual(item, arguments[0], budget)),
            _ => throw NoSuchMethod(value, "count"),
        }),
    }.ToDictionary(method => method.Name);

    private static readonly Dictionary<string, Callable> OfMappings = new Callable[]
    {
        OnMapping("items()", (map, _, budget) => Access.Pairs(map, budget)),
        OnMapping("keys()", (map, _, budget) => Access.Keys(map, budget)),
        OnMapping("values()", (map, _, budget) =>
        {
            budget.Spend(map.Count);
            return map.Values.ToList();
        }),
        OnMapping("get(key, default?)", (map, arguments, _) =>
            arguments[0] is TaintedText key && map.TryGetValue(key.Value, out object? value) ? value : arguments[1]),
    }.ToDictionary(method => method.Name);

    /// <summary>Names of the methods of texts.</summary>
    public static IReadOnlyCollection<string> OfText => Text.Keys;

    public static Callable? Find(string name) => Text.GetValueOrDefault(name) ?? OfMappings.GetValueOrDefault(name);

    /// <summary>strip and its like, of the characters that the first argument holds.</summary>
    public static TaintedText Strip(TaintedText text, CallArguments arguments, RenderBudget budget, bool left, bool right)
    {
        budget.SpendOnText(text.Length);
        return PythonText.Strip(text, arguments.Text(0)?.Value, left, right);
    }

    private static Callable OnText(string signature, Func<TaintedText, CallArguments, RenderBudget, object?> apply) =>
        Callable.Create(signature, (value, arguments, budget) =>
        {
            if (value is not TaintedText text)
                throw NoSuchMethod(value, signature);
            budget.SpendOnText(text.Length);
            return apply(text, arguments, budget);
        });

    private static Callable OnMapping(
        string signature, Func<IReadOnlyDictionary<string, object?>, CallArguments, RenderBudget, object?> apply) =>
        Callable.Create(signature, (value, arguments, budget) =>
            value is IReadOnlyDictionary<string, object?> map ? apply(map, arguments, budget) : throw NoSuchMethod(value, signature));

    private static TemplateFaultException NoSuchMethod(object? value, string signature) =>
        new($"{Values.Describe(value)} has no method '{signature.Split('(')[0]}'.");

    // Takes one text or a tuple of them.
    private static bool Ends(TaintedText text, CallArguments arguments, RenderBudget budget, Func<string, string, bool> matches)
    {
        if (arguments[0] is not TupleValue several)
            return matches(text.Value, arguments.RequiredText(0).Value);
        budget.Spend(several.Count);
        return several.Any(part => part is TaintedText candidate
            ? matches(text.Value, candidate.Value)
            : throw new TemplateFaultException($"a text begins and ends with text, not with {Values.Describe(part)}."));
    }

    private static TaintedText Join(TaintedText separator, object? value, RenderBudget budget)
    {
        var result = new TaintedTextBuilder(budget);
        bool isFirst = true;
        foreach (object? item in Access.Items(value, budget))
        {
            budget.Spend(1);
            if (item is not TaintedText text)
                throw new TemplateFaultException($"the method join takes texts, not {Values.Describe(item)}.");
            if (!isFirst)
                result.Append(separator);
            isFirst = false;
            result.Append(text);
        }

        return result.Build();
    }

    private static long Position(TaintedText text, CallArguments arguments, RenderBudget budget, bool fromEnd)
    {
        budget.Spend(text.Length);
        string part = arguments.RequiredText(0).Value;
        int found = fromEnd
            ? text.Value.AsSpan().LastIndexOf(part)
            : text.Value.IndexOf(part, StringComparison.Ordinal);
        return found < 0 ? -1 : PythonText.Length(text.Value[..found]);
    }

    private static long Count(TaintedText text, string part, RenderBudget budget)
    {
        budget.Spend(text.Length);
        if (part.Length == 0)
            return PythonText.Length(text.Value) + 1;
        long count = 0;
        int position = 0;
        while ((position = text.Value.IndexOf(part, position, StringComparison.Ordinal)) >= 0)
        {
            count++;
            position += part.Length;
        }

        return count;
    }
}
