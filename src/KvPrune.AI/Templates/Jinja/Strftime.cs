using System.Globalization;
using System.Text;

namespace KvPrune.AI.Templates.Jinja;

/// <summary>Dates and times as C's <c>strftime</c> writes them, in English.</summary>
internal static class Strftime
{
    /// <exception cref="TemplateFaultException">A directive that is not supported.</exception>
    public static string Format(string format, DateTimeOffset time)
    {
        var text = new StringBuilder();
        for (int i = 0; i < format.Length; i++)
        {
            if (format[i] != '%')
            {
                text.Append(format[i]);
                continue;
            }

            // "-" leaves out the zeros in front of a number.
            bool isBare = i + 1 < format.Length && format[i + 1] == '-';
            i += isBare ? 2 : 1;
            string field = i < format.Length ? Field(format[i], time, isBare) : throw Unknown("%");
            bool isCut = isBare && field.Length > 1 && field.All(char.IsAsciiDigit);
            text.Append(isCut ? field.TrimStart('0').PadLeft(1, '0') : field);
        }

        return text.ToString();
    }

    private static string Field(char directive, DateTimeOffset time, bool isBare) => directive switch
    {
        'Y' => Write(time, "yyyy"),
        'y' => Write(time, "yy"),
        'm' => Write(time, "MM"),
        'd' => Write(time, "dd"),
        'e' => isBare ? Write(time, "dd") : time.Day.ToString(CultureInfo.InvariantCulture).PadLeft(2),
        'B' => Write(time, "MMMM"),
        'b' or 'h' => Write(time, "MMM"),
        'A' => Write(time, "dddd"),
        'a' => Write(time, "ddd"),
        'H' => Write(time, "HH"),
        'I' => Write(time, "hh"),
        'M' => Write(time, "mm"),
        'S' => Write(time, "ss"),
        'p' => Write(time, "tt"),
        'j' => time.DayOfYear.ToString("000", CultureInfo.InvariantCulture),
        'F' => Write(time, "yyyy-MM-dd"),
        'T' => Write(time, "HH:mm:ss"),
        'R' => Write(time, "HH:mm"),
        'D' => Write(time, "MM'/'dd'/'yy"),
        'n' => "\n",
        't' => "\t",
        '%' => "%",
        _ => throw Unknown("%" + directive),
    };

    private static string Write(DateTimeOffset time, string pattern) => time.ToString(pattern, CultureInfo.InvariantCulture);

    private static TemplateFaultException Unknown(string directive) =>
        new($"strftime_now does not support '{directive}'.");
}
