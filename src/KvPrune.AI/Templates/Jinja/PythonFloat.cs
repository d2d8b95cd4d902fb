using System.Globalization;

namespace KvPrune.AI.Templates.Jinja;

/// <summary>Floating-point numbers as Python writes and divides them.</summary>
internal static class PythonFloat
{
    /// <summary>The shortest digits that give the number back, with an exponent below 1e-4 and from 1e16 on.</summary>
    public static string Write(double value)
    {
        if (double.IsNaN(value))
            return "nan";
        if (double.IsInfinity(value))
            return value > 0 ? "inf" : "-inf";
        string sign = double.IsNegative(value) ? "-" : "";
        if (value == 0)
            return sign + "0.0";

        string[] parts = Math.Abs(value).ToString("R", CultureInfo.InvariantCulture).Split('E');
        string[] halves = parts[0].Split('.');
        string fraction = halves.Length > 1 ? halves[1] : "";
        // The exponent of the first digit that is not zero.
        int exponent = halves[0] != "0" ? halves[0].Length - 1 : -1 - (fraction.Length - fraction.TrimStart('0').Length);
        exponent += parts.Length > 1 ? int.Parse(parts[1], CultureInfo.InvariantCulture) : 0;
        string digits = (halves[0] + fraction).Trim('0');
        if (exponent is < -4 or >= 16)
        {
            string mantissa = digits.Length == 1 ? digits : $"{digits[0]}.{digits[1..]}";
            return $"{sign}{mantissa}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}";
        }

        if (exponent < 0)
            return $"{sign}0.{new string('0', -exponent - 1)}{digits}";
        digits = digits.PadRight(exponent + 2, '0');
        return $"{sign}{digits[..(exponent + 1)]}.{digits[(exponent + 1)..]}";
    }

    /// <summary>The operators + - * / // %; a quotient is rounded down, and a remainder has the sign of the divisor.</summary>
    public static double Calculate(string @operator, double left, double right)
    {
        if (right == 0 && @operator is ("/" or "//" or "%"))
            throw new TemplateFaultException($"{Write(left)} {@operator} 0 divides by zero.");
        return @operator switch
        {
            "+" => left + right,
            "-" => left - right,
            "*" => left * right,
            "/" => left / right,
            "//" => FloorDivide(left, right),
            _ => Modulo(left, right),
        };
    }

    private static double FloorDivide(double left, double right)
    {
        double quotient = (left - Modulo(left, right)) / right;
        double floor = Math.Floor(quotient);
        return quotient - floor > 0.5 ? floor + 1 : floor;
    }

    private static double Modulo(double left, double right)
    {
        double remainder = left % right;
        if (remainder == 0)
            return Math.CopySign(0.0, right);
        return (remainder < 0) != (right < 0) ? remainder + right : remainder;
    }
}
