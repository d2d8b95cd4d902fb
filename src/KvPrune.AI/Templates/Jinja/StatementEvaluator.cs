namespace KvPrune.AI.Templates.Jinja;

/// <summary>Runs a parsed template.</summary>
internal sealed class StatementEvaluator
{
    private readonly RenderBudget _budget;
    private readonly ExpressionEvaluator _expressions;
    private int _macroNesting;

    private StatementEvaluator(TemplateSource source, RenderBudget budget, TimeProvider clock)
    {
        _budget = budget;
        _expressions = new ExpressionEvaluator(source, budget, clock, CallMacro);
    }

    /// <summary>How a body ended: at its end, or at a break or continue that is for the loop around it.</summary>
    private enum Flow
    {
        Next,
        Break,
        Continue,
    }

    /// <exception cref="ChatTemplateException">The template failed or used up its budget; names the line.</exception>
    /// <exception cref="ChatTemplateRaisedException">The template called raise_exception.</exception>
    public static TaintedText Run(
        ParsedTemplate template, IReadOnlyDictionary<string, object?> variables, RenderBudget budget, TimeProvider clock)
    {
        var scope = new Scope(outer: null);
        foreach (string function in TemplateFunctions.Names)
            scope.Set(function, new FunctionReference(function));
        foreach ((string name, object? value) in variables)
            scope.Set(name, value);

        var output = new TaintedTextBuilder(budget);
        try
        {
            new StatementEvaluator(template.Source, budget, clock).Run(template.Body, scope, output);
        }
        catch (TemplateFaultException fault)
        {
            throw template.Source.Fail(fault.Line, fault.Message);
        }

        return output.Build();
    }

    private Flow Run(IReadOnlyList<Statement> body, Scope scope, TaintedTextBuilder output)
    {
        foreach (Statement statement in body)
        {
            try
            {
                _budget.Spend(1);
                Flow flow = Run(statement, scope, output);
                if (flow != Flow.Next)
                    return flow;
            }
            catch (TemplateFaultException fault) when (fault.Line == 0)
            {
                fault.Line = statement.Line;
                throw;
            }
        }

        return Flow.Next;
    }

    private Flow Run(Statement statement, Scope scope, TaintedTextBuilder output)
    {
        switch (statement)
        {
            case WriteText text:
                output.Append(text.Text);
                return Flow.Next;
            case WriteValue value:
                output.Append(PythonText.ToText(_expressions.Evaluate(value.Value, scope), _budget));
                return Flow.Next;
            case If choice:
                return RunIf(choice, scope, output);
            case For loop:
                return RunFor(loop, scope, output);
            case LoopControl control:
                return control.IsBreak ? Flow.Break : Flow.Continue;
            case Set set:
                Assign(set.Target, _expressions.Evaluate(set.Value, scope), scope);
                return Flow.Next;
            case SetBlock set:
                var block = new TaintedTextBuilder(_budget);
                Flow flow = Run(set.Body, new Scope(scope), block);
                if (flow == Flow.Next)
                    Assign(set.Target, block.Build(), scope);
                return flow;
            case Macro macro:
                scope.Set(macro.Name, new MacroValue(macro, scope));
                return Flow.Next;
            case Generation generation:
                return Run(generation.Body, new Scope(scope), output);
            default:
                throw new InvalidOperationException($"The evaluator does not know {statement.GetType()}.");
        }
    }

    private void Assign(Target target, object? value, Scope scope)
    {
        if (target.Attribute is { } attribute)
        {
            if (scope.Get(target.Names[0]) is not NamespaceValue space)
                throw new TemplateFaultException($"'{target.Names[0]}' is no namespace, so its attributes cannot be assigned.");
            space.Set(attribute, value);
        }
        else if (!target.IsUnpacking)
        {
            scope.Set(target.Names[0], value);
        }
        else
        {
            IReadOnlyList<object?> items = Access.Items(value, _budget);
            if (items.Count != target.Names.Count)
                throw new TemplateFaultException($"{items.Count} items cannot be assigned to {target.Names.Count} variables.");
            for (int i = 0; i < items.Count; i++)
                scope.Set(target.Names[i], items[i]);
        }
    }

    private TaintedText CallMacro(
        MacroValue value, IReadOnlyList<object?> positional, IReadOnlyDictionary<string, object?> named)
    {
        Macro macro = value.Macro;
        if (positional.Count > macro.Parameters.Count)
            throw new TemplateFaultException($"the macro '{macro.Name}' takes at most {macro.Parameters.Count} arguments.");
        if (++_macroNesting > TemplateLimits.MacroNesting)
            throw new TemplateFaultException($"more than {TemplateLimits.MacroNesting} macros call each other.");

        var scope = new Scope(value.Scope);
        int bound = 0;
        for (int i = 0; i < macro.Parameters.Count; i++)
        {
            (string name, Expression? otherwise) = macro.Parameters[i];
            bool isNamed = named.TryGetValue(name, out object? argument);
            if (isNamed && i < positional.Count)
                throw new TemplateFaultException($"the argument '{name}' of the macro '{macro.Name}' is given twice.");
            bound += isNamed ? 1 : 0;
            scope.Set(name, i < positional.Count ? positional[i]
                : isNamed ? argument
                : otherwise is not null ? _expressions.Evaluate(otherwise, scope)
                : new Undefined(name));
        }

        if (bound < named.Count)
        {
            string unknown = named.Keys.First(name => macro.Parameters.All(parameter => parameter.Name != name));
            throw new TemplateFaultException($"the macro '{macro.Name}' has no argument '{unknown}'.");
        }

        var output = new TaintedTextBuilder(_budget);
        Run(macro.Body, scope, output);
        _macroNesting--;
        return output.Build();
    }

    private Flow RunIf(If choice, Scope scope, TaintedTextBuilder output)
    {
        foreach ((Expression condition, IReadOnlyList<Statement> body) in choice.Branches)
        {
            if (Values.IsTrue(_expressions.Evaluate(condition, scope)))
                return Run(body, scope, output);
        }

        return Flow.Next;
    }

    private Flow RunFor(For loop, Scope scope, TaintedTextBuilder output)
    {
        IReadOnlyList<object?> items = Filter(loop, Access.Items(_expressions.Evaluate(loop.Items, scope), _budget), scope);
        var state = new LoopState(items);
        bool isElse = true;
        for (int i = 0; i < items.Count; i++)
        {
            state.Index = i;
            var inner = new Scope(scope);
            inner.Set("loop", state);
            Assign(loop.Target, items[i], inner);
            Flow flow = Run(loop.Body, inner, output);
            if (flow == Flow.Break)
                break;
            // As in Jinja, what "else" asks is whether any pass came to its end.
            isElse &= flow != Flow.Next;
        }

        return isElse ? Run(loop.Otherwise, new Scope(scope), output) : Flow.Next;
    }

    private IReadOnlyList<object?> Filter(For loop, IReadOnlyList<object?> items, Scope scope)
    {
        if (loop.Filter is null)
            return items;
        var chosen = new List<object?>();
        foreach (object? item in items)
        {
            var inner = new Scope(scope);
            Assign(loop.Target, item, inner);
            if (Values.IsTrue(_expressions.Evaluate(loop.Filter, inner)))
                chosen.Add(item);
        }

        return chosen;
    }
}
