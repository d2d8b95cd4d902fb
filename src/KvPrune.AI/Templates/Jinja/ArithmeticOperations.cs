namespace KvPrune.AI.Templates.Jinja;

/// <summary>The operators + - * / // % and ~.</summary>
internal static class ArithmeticOperations
{
    public static object? Apply(string @operator, object? left, object? right, RenderBudget budget)
    {
        if (@operator == "~")
            return Concatenate(PythonText.ToText(left, budget), PythonText.ToText(right, budget), budget);
        if (@operator != "/" && Values.AsNumber(left) is long a && Values.AsNumber(right) is long b)
            return Calculate(@operator, a, b);
        if (Values.AsReal(left) is double x && Values.AsReal(right) is double y)
            return PythonFloat.Calculate(@operator, x, y);
        switch (@operator, left, right)
        {
            case ("+", TaintedText leftText, TaintedText rightText):
                return Concatenate(leftText, rightText, budget);
            case ("+", IReadOnlyList<object?> first, IReadOnlyList<object?> second)
                when first is TupleValue == second is TupleValue:
                budget.Spend((long)first.Count + second.Count);
                List<object?> both = [.. first, .. second];
                return first is TupleValue ? new TupleValue(both) : both;
            case ("*", TaintedText or IReadOnlyList<object?>, _) when Values.AsNumber(right) is long times:
                return Repeat(left, times, budget);
            case ("*", _, TaintedText or IReadOnlyList<object?>) when Values.AsNumber(left) is long times:
                return Repeat(right, times, budget);
            default:
                throw new TemplateFaultException(
                    $"'{@operator}' does not work on {Values.Describe(left)} and {Values.Describe(right)}.");
        }
    }

    private static TaintedText Concatenate(TaintedText left, TaintedText right, RenderBudget budget) =>
        new TaintedTextBuilder(budget).Append(left).Append(right).Build();

    private static object Repeat(object? value, long times, RenderBudget budget)
    {
        if (value is TaintedText text)
        {
            var builder = new TaintedTextBuilder(budget);
            for (long i = 0; i < times && text.Length > 0; i++)
                builder.Append(text);
            return builder.Build();
        }

        var list = (IReadOnlyList<object?>)value!;
        var items = new List<object?>();
        for (long i = 0; i < times && list.Count > 0; i++)
        {
            budget.Spend(list.Count);
            items.AddRange(list);
        }

        return list is TupleValue ? new TupleValue(items) : items;
    }

    public static long Calculate(string @operator, long left, long right)
    {
        try
        {
            return @operator switch
            {
                "+" => checked(left + right),
                "-" => checked(left - right),
                "*" => checked(left * right),
                "//" => FloorDivide(left, right),
                _ => Modulo(left, right),
            };
        }
        catch (OverflowException)
        {
            throw new TemplateFaultException($"{left} {@operator} {right} is beyond 64 bits.");
        }
        catch (DivideByZeroException)
        {
            throw new TemplateFaultException($"{left} {@operator} {right} divides by zero.");
        }
    }

    // Python rounds quotients down, and a remainder has the sign of the divisor.
    private static long FloorDivide(long left, long right)
    {
        long quotient = checked(left / right);
        return left % right != 0 && (left < 0) != (right < 0) ? quotient - 1 : quotient;
    }

    private static long Modulo(long left, long right)
    {
        if (right == -1)
            return 0;
        long remainder = left % right;
        return remainder != 0 && (remainder < 0) != (right < 0) ? remainder + right : remainder;
    }
}
