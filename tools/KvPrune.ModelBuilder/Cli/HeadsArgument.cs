using System.CommandLine.Parsing;
using System.Globalization;

namespace KvPrune.ModelBuilder.Cli;

/// <summary>Parses <c>QUERY/KV/SIZE</c>, for example <c>6/2/96</c>.</summary>
internal static class HeadsArgument
{
    public static (int Query, int Kv, int Size)? Parse(ArgumentResult argument)
    {
        var text = argument.Tokens[0].Value;
        var parts = text.Split('/');
        if (parts.Length == 3
            && int.TryParse(parts[0], CultureInfo.InvariantCulture, out var query)
            && int.TryParse(parts[1], CultureInfo.InvariantCulture, out var kv)
            && int.TryParse(parts[2], CultureInfo.InvariantCulture, out var size))
        {
            return (query, kv, size);
        }

        argument.AddError($"--heads {text}: expected query heads, KV heads and head size as in 6/2/96.");
        return null;
    }
}
