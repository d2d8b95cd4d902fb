namespace KvPrune.AI.Templates.Jinja;

/// <summary>Parses the arguments of calls and gives each parameter its own.</summary>
internal sealed class ArgumentParser(TokenStream tokens, ExpressionParser expressions)
{
    /// <summary>After the opening parenthesis, up to and with the closing one.</summary>
    public (IReadOnlyList<Expression> Positional, IReadOnlyList<(string Name, Expression Value)> Named) Parse()
    {
        var positional = new List<Expression>();
        var named = new List<(string Name, Expression Value)>();
        while (!tokens.TakeOperator(")"))
        {
            if (tokens.Current.IsOperator("*") || tokens.Current.IsOperator("**"))
                throw tokens.Fail("arguments that are unpacked with '*' are not supported.");
            if (tokens.Current.Kind == TokenKind.Name && tokens.Following.IsOperator("="))
            {
                string name = tokens.Take().Text;
                tokens.Take();
                if (named.Any(argument => argument.Name == name))
                    throw tokens.Fail($"the argument '{name}' is given twice.");
                named.Add((name, expressions.Parse()));
            }
            else if (named.Count > 0)
            {
                throw tokens.Fail("an argument without a name follows one with a name.");
            }
            else
            {
                positional.Add(expressions.Parse());
            }

            if (!tokens.Current.IsOperator(")"))
                tokens.ExpectOperator(",");
        }

        return (positional, named);
    }

    /// <summary>As <see cref="Parse"/>, for the parameters of a filter or method.</summary>
    public IReadOnlyList<Expression?> ParseFor(Callable callee, int line)
    {
        (IReadOnlyList<Expression> positional, IReadOnlyList<(string, Expression)> named) = Parse();
        return Bind(callee, positional, named, line);
    }

    /// <summary>One argument for each parameter, null where none is given.</summary>
    public IReadOnlyList<Expression?> Bind(
        Callable callee, IReadOnlyList<Expression> positional, IReadOnlyList<(string Name, Expression Value)> named, int line)
    {
        if (positional.Count > callee.Parameters.Count)
            throw tokens.Fail(line, $"'{callee.Name}' takes at most {callee.Parameters.Count} arguments.");
        var bound = new Expression?[callee.Parameters.Count];
        for (int i = 0; i < positional.Count; i++)
            bound[i] = positional[i];
        foreach ((string name, Expression value) in named)
        {
            int index = callee.Parameters.TakeWhile(parameter => parameter != name).Count();
            if (index == bound.Length)
                throw tokens.Fail(line, $"'{callee.Name}' has no argument '{name}'.");
            if (bound[index] is not null)
                throw tokens.Fail(line, $"the argument '{name}' of '{callee.Name}' is given twice.");
            bound[index] = value;
        }

        int missing = Array.IndexOf(bound, null, 0, callee.Required);
        return missing < 0
            ? bound
            : throw tokens.Fail(line, $"'{callee.Name}' needs the argument '{callee.Parameters[missing]}'.");
    }
}
