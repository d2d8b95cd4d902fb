using System.Globalization;

namespace KvPrune.AI.Templates.Jinja;

/// <summary>Attributes, items and what a value consists of.</summary>
internal static class Access
{
    private static readonly HashSet<string> MethodsOfMappings =
        ["clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"];

    /// <summary><c>value.attribute</c>: methods of a mapping come before its keys.</summary>
    public static object? Attribute(object? value, string attribute) => value switch
    {
        IReadOnlyDictionary<string, object?> when MethodsOfMappings.Contains(attribute) => new FunctionReference(attribute),
        _ => Named(value, attribute),
    };

    /// <summary><c>value[index]</c>: keys of a mapping come before its methods.</summary>
    public static object? Item(object? value, object? index, RenderBudget budget)
    {
        if (value is Undefined undefined)
            throw new TemplateFaultException($"'{undefined.Name}' is undefined, so it has no items.");
        if (index is TaintedText key)
            return Named(value, key.Value);
        return Values.AsNumber(index) is long number
            ? Slicing.Item(value, number, budget)
            : new Undefined($"item {Values.Describe(index)}");
    }

    /// <summary>An attribute as filters take it: keys and indices with dots between them.</summary>
    public static object? Path(object? value, object? path, RenderBudget budget)
    {
        if (path is not TaintedText text)
            return Item(value, path, budget);
        budget.SpendOnText(text.Length);
        foreach (string part in text.Value.Split('.'))
        {
            budget.Spend(1);
            bool isIndex = part.Length > 0 && part.All(char.IsAsciiDigit)
                && long.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out _);
            value = Item(
                value,
                isIndex ? long.Parse(part, CultureInfo.InvariantCulture) : TaintedText.Trusted(part),
                budget);
        }

        return value;
    }

    /// <summary>What a loop goes through: items, the characters of a text or the keys of a mapping.</summary>
    public static IReadOnlyList<object?> Items(object? value, RenderBudget budget) => value switch
    {
        IReadOnlyList<object?> list => list,
        GeneratorValue generator => generator.Take(),
        TaintedText text => Slicing.Characters(text, budget),
        IReadOnlyDictionary<string, object?> map => Keys(map, budget),
        Undefined => [],
        _ => throw new TemplateFaultException($"{Values.Describe(value)} has no items to go through."),
    };

    /// <summary>The keys; whether one came from a message is not recorded, so all count as untrusted.</summary>
    public static List<object?> Keys(IReadOnlyDictionary<string, object?> map, RenderBudget budget)
    {
        budget.Spend(map.Count);
        return [.. map.Keys.Select(TaintedText.Untrusted)];
    }

    /// <summary>Key and value of every entry.</summary>
    public static List<object?> Pairs(IReadOnlyDictionary<string, object?> map, RenderBudget budget)
    {
        budget.Spend(map.Count);
        return [.. map.Select(pair => new TupleValue([TaintedText.Untrusted(pair.Key), pair.Value]))];
    }

    private static object? Named(object? value, string name) => value switch
    {
        IReadOnlyDictionary<string, object?> map => map.TryGetValue(name, out object? item) ? item
            : MethodsOfMappings.Contains(name) ? new FunctionReference(name) : new Undefined(name),
        LoopState loop => loop.Get(name),
        NamespaceValue space => space.Get(name),
        Undefined undefined => throw new TemplateFaultException($"'{undefined.Name}' is undefined, so it has no '{name}'."),
        TaintedText when Methods.OfText.Contains(name) => new FunctionReference(name),
        _ => new Undefined(name),
    };
}
