using System.Runtime.CompilerServices;

namespace KvPrune.AI.Templates.Jinja;

/// <summary>Gives expressions their values.</summary>
/// <param name="source">The template.</param>
/// <param name="budget">The budget.</param>
/// <param name="clock">The time that strftime_now tells.</param>
/// <param name="callMacro">Runs a macro: its positional arguments and the ones with names.</param>
internal sealed class ExpressionEvaluator(
    TemplateSource source, RenderBudget budget, TimeProvider clock,
    Func<MacroValue, IReadOnlyList<object?>, IReadOnlyDictionary<string, object?>, TaintedText> callMacro)
{
    public object? Evaluate(Expression expression, Scope scope)
    {
        try
        {
            budget.Spend(1);
            // The parser bounds the nesting of one expression, but macros nest them once more.
            if (!RuntimeHelpers.TryEnsureSufficientExecutionStack())
                throw new TemplateFaultException("expressions and macros are nested too deeply.");
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
        AttributeAccess access => Access.Attribute(Evaluate(access.Value, scope), access.Attribute),
        IndexAccess access => Access.Item(Evaluate(access.Value, scope), Evaluate(access.Index, scope), budget),
        PathAccess access => Access.Path(Evaluate(access.Value, scope), Evaluate(access.Path, scope), budget),
        SliceAccess slice => Slice(slice, scope),
        Comparison comparison => Compare(comparison, scope),
        Logical logical => Combine(logical, scope),
        Not not => !Values.IsTrue(Evaluate(not.Value, scope)),
        Arithmetic operation => ArithmeticOperations.Apply(
            operation.Operator, Evaluate(operation.Left, scope), Evaluate(operation.Right, scope), budget),
        Sign sign => Negate(sign.IsNegative, Evaluate(sign.Value, scope)),
        Conditional conditional => Choose(conditional, scope),
        Test { Argument: null } test => ValueTests.Check(test.Name, Evaluate(test.Value, scope), budget),
        Test test => ValueTests.Compare(test.Name, Evaluate(test.Value, scope), Evaluate(test.Argument, scope), budget),
        Call call => Apply(call, scope),
        ForEach each => RunForEach(each, scope),
        FunctionCall call => CallFunction(call, scope),
        ListLiteral list => MakeList(list, scope),
        MapLiteral map => MakeMap(map, scope),
        _ => throw new InvalidOperationException($"The evaluator does not know {expression.GetType()}."),
    };

    private object? Apply(Call call, Scope scope)
    {
        object? value = Evaluate(call.Value, scope);
        if (value is Undefined undefined && Methods.Find(call.Callee.Name) == call.Callee)
            throw new TemplateFaultException($"'{undefined.Name}' is undefined, so it has no '{call.Callee.Name}'.");
        var arguments = new object?[call.Arguments.Count];
        var given = new bool[arguments.Length];
        for (int i = 0; i < arguments.Length; i++)
        {
            given[i] = call.Arguments[i] is not null;
            arguments[i] = call.Arguments[i] is { } argument ? Evaluate(argument, scope) : null;
        }

        return call.Callee.Apply(value, new CallArguments(call.Callee, arguments, given), budget);
    }

    private GeneratorValue RunForEach(ForEach each, Scope scope)
    {
        var results = new List<object?>();
        var inner = new Scope(scope);
        object? value = Evaluate(each.Value, scope);
        // Jinja does not ask what a value is that counts as false.
        foreach (object? item in Values.IsTrue(value) ? Access.Items(value, budget) : [])
        {
            inner.Set(ForEach.ItemName, item);
            object? result = Evaluate(each.Result, inner);
            if (!each.IsSelection)
                results.Add(result);
            else if (Values.IsTrue(result))
                results.Add(item);
        }

        return new GeneratorValue(results);
    }

    private object CallFunction(FunctionCall call, Scope scope)
    {
        object? callee = scope.Get(call.Function);
        if (callee is not (MacroValue or FunctionReference) || (callee is FunctionReference function && function.Name != call.Function))
            throw new TemplateFaultException($"{Values.Describe(callee)} cannot be called.");
        object?[] positional = [.. call.Positional.Select(argument => Evaluate(argument, scope))];
        Dictionary<string, object?> named = call.Named.ToDictionary(
            argument => argument.Name, argument => Evaluate(argument.Value, scope));
        return callee is MacroValue macro
            ? callMacro(macro, positional, named)
            : TemplateFunctions.Call(call, positional, named, source, clock, budget);
    }

    private IReadOnlyList<object?> MakeList(ListLiteral list, Scope scope)
    {
        List<object?> items = [.. list.Items.Select(item => Evaluate(item, scope))];
        return list.IsTuple ? new TupleValue(items) : items;
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

    private static object Negate(bool isNegative, object? value)
    {
        if (value is double real)
            return isNegative ? -real : real;
        long number = Values.AsNumber(value)
            ?? throw new TemplateFaultException($"{Values.Describe(value)} has no sign.");
        if (isNegative && number == long.MinValue)
            throw new TemplateFaultException($"-({number}) is beyond 64 bits.");
        return isNegative ? -number : number;
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
