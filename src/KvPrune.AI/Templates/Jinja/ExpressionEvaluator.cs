namespace KvPrune.AI.Templates.Jinja;

/// <summary>Gives expressions their values. The depth of its recursion is bounded by the parser's limits.</summary>
internal sealed class ExpressionEvaluator(TemplateSource source, RenderBudget budget)
{
    public object? Evaluate(Expression expression, Scope scope)
    {
        try
        {
            budget.Spend(1);
            return EvaluateNode(expression, scope);
        }
        catch (TemplateFaultException fault) when (fault.Line == 0)
        {
            fault.Line = expression.Line;
            throw;
        }
    }

    private object? EvaluateNode(Expression expression, Scope scope) => expression switch
    {
        Constant constant => constant.Value,
        Name name => scope.Get(name.Identifier),
        AttributeAccess access => Attribute(Evaluate(access.Value, scope), access.Attribute),
        IndexAccess access => Item(Evaluate(access.Value, scope), Evaluate(access.Index, scope)),
        SliceAccess slice => Slice(slice, scope),
        Comparison comparison => Compare(comparison, scope),
        Logical logical => Combine(logical, scope),
        Not not => !Values.IsTrue(Evaluate(not.Value, scope)),
        Arithmetic operation => ArithmeticOperations.Apply(
            operation.Operator, Evaluate(operation.Left, scope), Evaluate(operation.Right, scope), budget),
        Sign sign => Negate(sign.IsNegative, Evaluate(sign.Value, scope)),
        Conditional conditional => Choose(conditional, scope),
        Test test => Check(test.Name, Evaluate(test.Value, scope)),
        Strip strip => StripText(strip, scope),
        ToJson json => JsonOutput.Write(
            Evaluate(json.Value, scope), json.Indent is null ? null : Evaluate(json.Indent, scope), budget),
        ListLiteral list => list.Items.Select(item => Evaluate(item, scope)).ToList(),
        MapLiteral map => MakeMap(map, scope),
        RaiseException raise => throw new ChatTemplateRaisedException(
            source.File, raise.Line, Values.ToText(Evaluate(raise.Message, scope)).Value),
        _ => throw new InvalidOperationException($"The evaluator does not know {expression.GetType()}."),
    };

    private static object? Attribute(object? value, string attribute) => value switch
    {
        IReadOnlyDictionary<string, object?> map when map.TryGetValue(attribute, out object? item) => item,
        LoopState loop => loop.Get(attribute),
        Undefined undefined =>
            throw new TemplateFaultException($"'{undefined.Name}' is undefined, so it has no '{attribute}'."),
        _ => new Undefined(attribute),
    };

    private object? Item(object? value, object? index)
    {
        if (value is Undefined undefined)
            throw new TemplateFaultException($"'{undefined.Name}' is undefined, so it has no items.");
        if (index is TaintedText key)
            return Attribute(value, key.Value);
        return Values.AsNumber(index) is long number
            ? Slicing.Item(value, number, budget)
            : new Undefined($"item {Values.Describe(index)}");
    }

    private object Slice(SliceAccess slice, Scope scope)
    {
        object? value = Evaluate(slice.Value, scope);
        return Slicing.Slice(value, Bound(slice.Start, scope), Bound(slice.Stop, scope), Bound(slice.Step, scope), budget);
    }

    private long? Bound(Expression? expression, Scope scope)
    {
        object? value = expression is null ? null : Evaluate(expression, scope);
        return value is null
            ? null
            : Values.AsNumber(value)
                ?? throw new TemplateFaultException($"a slice is bounded by numbers, not by {Values.Describe(value)}.");
    }

    private bool Compare(Comparison comparison, Scope scope)
    {
        object? left = Evaluate(comparison.First, scope);
        foreach ((string @operator, Expression expression) in comparison.Rest)
        {
            object? right = Evaluate(expression, scope);
            bool holds = @operator switch
            {
                "==" => Values.AreEqual(left, right, budget),
                "!=" => !Values.AreEqual(left, right, budget),
                "in" => Values.Contains(right, left, budget),
                "not in" => !Values.Contains(right, left, budget),
                _ => Values.Compare(@operator, left, right, budget),
            };
            if (!holds)
                return false;
            left = right;
        }

        return true;
    }

    private object? Combine(Logical logical, Scope scope)
    {
        object? left = Evaluate(logical.Left, scope);
        return Values.IsTrue(left) == logical.IsAnd ? Evaluate(logical.Right, scope) : left;
    }

    private object? Choose(Conditional conditional, Scope scope)
    {
        if (Values.IsTrue(Evaluate(conditional.Condition, scope)))
            return Evaluate(conditional.Value, scope);
        return conditional.Otherwise is null
            ? new Undefined("the value of an 'if' without 'else'")
            : Evaluate(conditional.Otherwise, scope);
    }

    private static long Negate(bool isNegative, object? value)
    {
        long number = Values.AsNumber(value)
            ?? throw new TemplateFaultException($"{Values.Describe(value)} has no sign.");
        if (isNegative && number == long.MinValue)
            throw new TemplateFaultException($"-({number}) is beyond 64 bits.");
        return isNegative ? -number : number;
    }

    // In Jinja an undefined value, looking like an empty sequence, passes as both sequence and iterable.
    private static bool Check(string test, object? value) => test switch
    {
        "defined" => value is not Undefined,
        "undefined" => value is Undefined,
        "none" => value is null,
        "true" => value is true,
        "false" => value is false,
        "boolean" => value is bool,
        "integer" => value is long,
        "number" => value is long or bool,
        "string" => value is TaintedText,
        "mapping" => value is IReadOnlyDictionary<string, object?>,
        "sequence" => value is TaintedText or IReadOnlyList<object?> or IReadOnlyDictionary<string, object?> or Undefined,
        _ => value is TaintedText or IReadOnlyList<object?> or IReadOnlyDictionary<string, object?> or Undefined or LoopState,
    };

    private TaintedText StripText(Strip strip, Scope scope)
    {
        object? value = Evaluate(strip.Value, scope);
        TaintedText text = strip.IsFilter ? Values.ToText(value) : value as TaintedText
            ?? throw new TemplateFaultException($"{Values.Describe(value)} has no method to strip it.");
        object? characters = strip.Characters is null ? null : Evaluate(strip.Characters, scope);
        if (characters is not (null or TaintedText))
            throw new TemplateFaultException($"the characters to strip are text, not {Values.Describe(characters)}.");

        budget.SpendOnText(text.Length);
        return PythonText.Strip(text, (characters as TaintedText)?.Value, strip.Left, strip.Right);
    }

    private Dictionary<string, object?> MakeMap(MapLiteral literal, Scope scope)
    {
        var map = new Dictionary<string, object?>();
        foreach ((Expression key, Expression value) in literal.Items)
        {
            object? name = Evaluate(key, scope);
            if (name is not TaintedText text)
                throw new TemplateFaultException($"{Values.Describe(name)} cannot be a key.");
            map[text.Value] = Evaluate(value, scope);
        }

        return map;
    }
}
