namespace KvPrune.AI.Templates.Jinja;

/// <summary>A filter or method.</summary>
/// <param name="Name">Its name in templates.</param>
/// <param name="Parameters">Names of its parameters, in the order in which they are given without names.</param>
/// <param name="Required">How many of them, from the first on, have no default.</param>
/// <param name="Apply">Takes what stands in front of it and the arguments.</param>
internal sealed record Callable(
    string Name, IReadOnlyList<string> Parameters, int Required, Func<object?, CallArguments, RenderBudget, object?> Apply)
{
    /// <param name="signature">
    /// The name and the parameters in parentheses, "?" after those that may be left out: "replace(old, new, count?)".
    /// </param>
    /// <param name="apply">What it does.</param>
    public static Callable Create(string signature, Func<object?, CallArguments, RenderBudget, object?> apply)
    {
        string[] parts = signature.Split('(', ')');
        string[] parameters = parts[1].Split(", ", StringSplitOptions.RemoveEmptyEntries);
        return new Callable(
            parts[0], [.. parameters.Select(parameter => parameter.TrimEnd('?'))],
            parameters.Count(parameter => !parameter.EndsWith('?')), apply);
    }
}

/// <summary>The arguments of one call, one for each parameter.</summary>
internal sealed class CallArguments(Callable callee, IReadOnlyList<object?> values, IReadOnlyList<bool> given)
{
    /// <summary>An argument; null where it is none or was not given.</summary>
    public object? this[int index] => values[index];

    public bool IsGiven(int index) => given[index];

    /// <summary>A text; null where it is none or was not given.</summary>
    public TaintedText? Text(int index) => values[index] switch
    {
        null => null,
        TaintedText text => text,
        object other => throw Wrong(index, "text", other),
    };

    /// <summary>A text that cannot be none.</summary>
    public TaintedText RequiredText(int index) => Text(index) ?? throw Wrong(index, "text", null);

    /// <summary>A whole number, or the default where it is none or was not given.</summary>
    public long Number(int index, long otherwise) => values[index] is null
        ? otherwise
        : Values.AsNumber(values[index]) ?? throw Wrong(index, "a whole number", values[index]);

    private TemplateFaultException Wrong(int index, string expected, object? value) => new(
        $"the argument '{callee.Parameters[index]}' of '{callee.Name}' is {expected}, not {Values.Describe(value)}.");
}
