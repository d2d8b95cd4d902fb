using System.CommandLine;
using System.Globalization;

namespace KvPrune.Benchmarks;

/// <summary>Limits of the values that options take.</summary>
internal static class OptionRules
{
    /// <summary>
    /// Refuses numbers below <paramref name="least"/> and above <paramref name="most"/>. What is no number is left to the parser,
    /// whose values a validator must not ask for then.
    /// </summary>
    public static void Between(this Option option, double least, double most)
    {
        option.Validators.Add(result =>
        {
            foreach (var token in result.Tokens)
            {
                if (double.TryParse(token.Value, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) && !(value >= least && value <= most))
                    result.AddError(FormattableString.Invariant($"{option.Name} takes {least} to {most}; {token.Value} is not."));
            }
        });
    }
}
