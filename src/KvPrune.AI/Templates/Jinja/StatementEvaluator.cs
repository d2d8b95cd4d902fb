namespace KvPrune.AI.Templates.Jinja;

/// <summary>Runs a parsed template.</summary>
internal sealed class StatementEvaluator
{
    private readonly RenderBudget _budget;
    private readonly ExpressionEvaluator _expressions;

    private StatementEvaluator(TemplateSource source, RenderBudget budget)
    {
        _budget = budget;
        _expressions = new ExpressionEvaluator(source, budget);
    }

    /// <exception cref="ChatTemplateException">The template failed or used up its budget; names the line.</exception>
    /// <exception cref="ChatTemplateRaisedException">The template called raise_exception.</exception>
    public static TaintedText Run(
        TemplateSource source,
        IReadOnlyList<Statement> template,
        IReadOnlyDictionary<string, object?> variables,
        RenderBudget budget)
    {
        var scope = new Scope(outer: null);
        foreach ((string name, object? value) in variables)
            scope.Set(name, value);

        var output = new TaintedTextBuilder(budget);
        try
        {
            new StatementEvaluator(source, budget).Run(template, scope, output);
        }
        catch (TemplateFaultException fault)
        {
            throw source.Fail(fault.Line, fault.Message);
        }

        return output.Build();
    }

    private void Run(IReadOnlyList<Statement> body, Scope scope, TaintedTextBuilder output)
    {
        foreach (Statement statement in body)
        {
            try
            {
                _budget.Spend(1);
                Run(statement, scope, output);
            }
            catch (TemplateFaultException fault) when (fault.Line == 0)
            {
                fault.Line = statement.Line;
                throw;
            }
        }
    }

    private void Run(Statement statement, Scope scope, TaintedTextBuilder output)
    {
        switch (statement)
        {
            case WriteText text:
                output.Append(text.Text);
                break;
            case WriteValue value:
                output.Append(Values.ToText(_expressions.Evaluate(value.Value, scope)));
                break;
            case If choice:
                RunIf(choice, scope, output);
                break;
            case For loop:
                RunFor(loop, scope, output);
                break;
            case Set set:
                scope.Set(set.Variable, _expressions.Evaluate(set.Value, scope));
                break;
            case SetBlock set:
                var block = new TaintedTextBuilder(_budget);
                Run(set.Body, new Scope(scope), block);
                scope.Set(set.Variable, block.Build());
                break;
            default:
                throw new InvalidOperationException($"The evaluator does not know {statement.GetType()}.");
        }
    }

    private void RunIf(If choice, Scope scope, TaintedTextBuilder output)
    {
        foreach ((Expression condition, IReadOnlyList<Statement> body) in choice.Branches)
        {
            if (!Values.IsTrue(_expressions.Evaluate(condition, scope)))
                continue;
            Run(body, scope, output);
            return;
        }
    }

    private void RunFor(For loop, Scope scope, TaintedTextBuilder output)
    {
        IReadOnlyList<object?> items = Filter(loop, Items(_expressions.Evaluate(loop.Items, scope)), scope);
        if (items.Count == 0)
        {
            Run(loop.Otherwise, new Scope(scope), output);
            return;
        }

        var state = new LoopState(items);
        for (int i = 0; i < items.Count; i++)
        {
            state.Index = i;
            var inner = new Scope(scope);
            inner.Set("loop", state);
            inner.Set(loop.Variable, items[i]);
            Run(loop.Body, inner, output);
        }
    }

    private IReadOnlyList<object?> Items(object? value) => value switch
    {
        IReadOnlyList<object?> list => list,
        TaintedText text => Slicing.Characters(text, _budget),
        // Whether a key came from a message is not recorded.
        IReadOnlyDictionary<string, object?> map => [.. map.Keys.Select(TaintedText.Untrusted)],
        Undefined => [],
        _ => throw new TemplateFaultException($"{Values.Describe(value)} cannot be looped over."),
    };

    private IReadOnlyList<object?> Filter(For loop, IReadOnlyList<object?> items, Scope scope)
    {
        if (loop.Filter is null)
            return items;
        var chosen = new List<object?>();
        foreach (object? item in items)
        {
            var inner = new Scope(scope);
            inner.Set(loop.Variable, item);
            if (Values.IsTrue(_expressions.Evaluate(loop.Filter, inner)))
                chosen.Add(item);
        }

        return chosen;
    }
}
