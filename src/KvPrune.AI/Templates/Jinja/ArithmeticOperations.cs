namespace KvPrune.AI.Templates.Jinja;

/// <summary>The operators + - * // % and ~.</summary>
internal static class ArithmeticOperations
{
    public static object? Apply(string @operator, object? left, object? right, RenderBudget budget)
    {
        if (@operator == "~")
            return Concatenate(Values.ToText(left), Values.ToText(right), budget);
        if (Values.AsNumber(left) is long a && Values.AsNumber(right) is long b)
            return Calculate(@operator, a, b);
        switch (@operator, left, right)
        {
            case ("+", TaintedText leftText, TaintedText rightText):
                return Concatenate(leftText, rightText, budget);
            case ("+", IReadOnlyList<object?> leftList, IReadOnlyList<object?> rightList):
                budget.Spend((long)leftList.Count + rightList.Count);
                return leftList.Concat(rightList).ToList();
            default:
                throw new TemplateFaultException(
                    $"'{@operator}' does not work on {Values.Describe(left)} and {Values.Describe(right)}.");
        }
    }

    private static TaintedText Concatenate(TaintedText left, TaintedText right, RenderBudget budget) =>
        new TaintedTextBuilder(budget).Append(left).Append(right).Build();

    private static long Calculate(string @operator, long left, long right)
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
