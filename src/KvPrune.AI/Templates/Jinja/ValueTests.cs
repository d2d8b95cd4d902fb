namespace KvPrune.AI.Templates.Jinja;

/// <summary>What can stand behind <c>is</c>.</summary>
internal static class ValueTests
{
    private static readonly HashSet<string> Plain =
    [
        "defined", "undefined", "none", "true", "false", "boolean", "integer", "float", "number", "string", "mapping",
        "sequence", "iterable", "callable", "lower", "upper", "odd", "even",
    ];

    private static readonly Dictionary<string, string> Comparisons = new()
    {
        ["eq"] = "==", ["equalto"] = "==", ["ne"] = "!=", ["lt"] = "<", ["lessthan"] = "<", ["le"] = "<=", ["gt"] = ">",
        ["greaterthan"] = ">", ["ge"] = ">=", ["in"] = "in", ["sameas"] = "sameas", ["divisibleby"] = "%",
    };

    public static bool IsKnown(string name) => Plain.Contains(name) || Comparisons.ContainsKey(name);

    public static bool TakesArgument(string name) => Comparisons.ContainsKey(name);

    // In Jinja an undefined value, looking like an empty sequence, passes as both sequence and iterable.
    public static bool Check(string test, object? value, RenderBudget budget) => test switch
    {
        "defined" => value is not Undefined,
        "undefined" => value is Undefined,
        "none" => value is null,
        "true" => value is true,
        "false" => value is false,
        "boolean" => value is bool,
        "integer" => value is long,
        "float" => value is double,
        "number" => value is long or bool or double,
        "string" => value is TaintedText,
        "mapping" => value is IReadOnlyDictionary<string, object?>,
        "sequence" => value is TaintedText or IReadOnlyList<object?> or IReadOnlyDictionary<string, object?> or Undefined,
        "callable" => value is MacroValue or FunctionReference or Undefined,
        "lower" => HasCase(PythonText.ToText(value, budget), PythonCase.Lower, budget),
        "upper" => HasCase(PythonText.ToText(value, budget), PythonCase.Upper, budget),
        "odd" => Remainder(value, 2) == 1,
        "even" => Remainder(value, 2) == 0,
        _ => value is TaintedText or IReadOnlyList<object?> or IReadOnlyDictionary<string, object?> or Undefined or LoopState
            or GeneratorValue,
    };

    public static bool Compare(string test, object? value, object? argument, RenderBudget budget) => Comparisons[test] switch
    {
        "==" => Values.AreEqual(value, argument, budget),
        "!=" => !Values.AreEqual(value, argument, budget),
        "in" => Values.Contains(argument, value, budget),
        "sameas" => value is null or bool ? Equals(value, argument) : ReferenceEquals(value, argument),
        "%" => Remainder(value, Values.AsNumber(argument) is long number and not 0 ? number
            : throw new TemplateFaultException($"nothing is divisible by {Values.Describe(argument)}.")) == 0,
        var @operator => Values.Compare(@operator, value, argument, budget),
    };

    private static long Remainder(object? value, long divisor) =>
        ArithmeticOperations.Calculate("%", Values.AsNumber(value)
            ?? throw new TemplateFaultException($"{Values.Describe(value)} is no whole number."), divisor);

    // Python wants a letter with a case, and all of them in this one.
    private static bool HasCase(TaintedText text, Func<TaintedText, RenderBudget, TaintedText> map, RenderBudget budget) =>
        map(text, budget).Value == text.Value
            && PythonCase.Lower(text, budget).Value != PythonCase.Upper(text, budget).Value;
}
