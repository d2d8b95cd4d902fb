using System.Collections.ObjectModel;

namespace KvPrune.AI.Templates.Jinja;

/// <summary>A list that is written with parentheses and equals no list.</summary>
internal sealed class TupleValue(IList<object?> items) : ReadOnlyCollection<object?>(items);

/// <summary>
/// What filters such as map give: items that can be gone through once, of unknown number and therefore always true.
/// </summary>
internal sealed class GeneratorValue(IReadOnlyList<object?> items)
{
    private IReadOnlyList<object?> _left = items;

    public IReadOnlyList<object?> Take()
    {
        IReadOnlyList<object?> taken = _left;
        _left = [];
        return taken;
    }
}

/// <summary>The only value that changes: <c>namespace(…)</c>.</summary>
internal sealed class NamespaceValue(Dictionary<string, object?> attributes)
{
    public object? Get(string attribute) =>
        attributes.TryGetValue(attribute, out object? value) ? value : new Undefined(attribute);

    public void Set(string attribute, object? value) => attributes[attribute] = value;
}

/// <summary>A macro and the variables around its definition.</summary>
internal sealed record MacroValue(Macro Macro, Scope Scope);

/// <summary>
/// A function or method that was named but not called: <c>strftime_now is defined</c> asks for one. And
/// <c>schema.items</c> is one even where the mapping has such a key, which <c>schema['items']</c> gives.
/// </summary>
internal sealed record FunctionReference(string Name);
