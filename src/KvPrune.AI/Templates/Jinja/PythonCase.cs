using System.Globalization;
using System.Text;

namespace KvPrune.AI.Templates.Jinja;

/// <summary>
/// Upper and lower case as Python has them: the full mappings, so that "ß" becomes "SS". Only the sigma at the end of a
/// word is not told apart.
/// </summary>
internal static class PythonCase
{
    public static TaintedText Upper(TaintedText text, RenderBudget budget) => Map(text, budget, (rune, _) => Upper(rune));

    public static TaintedText Lower(TaintedText text, RenderBudget budget) => Map(text, budget, (rune, _) => Lower(rune));

    /// <summary>The first character in upper case, the rest in lower case.</summary>
    public static TaintedText Capitalize(TaintedText text, RenderBudget budget) =>
        Map(text, budget, (rune, position) => position == 0 ? Title(rune) : Lower(rune));

    /// <summary>The method title: letters are in upper case after anything that is no letter.</summary>
    public static TaintedText TitleMethod(TaintedText text, RenderBudget budget)
    {
        bool followsLetter = false;
        return Map(text, budget, (rune, _) =>
        {
            string mapped = followsLetter ? Lower(rune) : Title(rune);
            followsLetter = Rune.GetUnicodeCategory(rune)
                is UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter;
            return mapped;
        });
    }

    /// <summary>The filter title: words begin after white space, hyphens and opening brackets only.</summary>
    public static TaintedText TitleFilter(TaintedText text, RenderBudget budget)
    {
        bool beginsWord = true;
        return Map(text, budget, (rune, _) =>
        {
            string mapped = beginsWord ? Upper(rune) : Lower(rune);
            beginsWord = rune.Value is '-' or '(' or '{' or '[' or '<'
                || (rune.IsBmp && PythonText.IsWhiteSpace((char)rune.Value));
            return mapped;
        });
    }

    private static TaintedText Map(TaintedText text, RenderBudget budget, Func<Rune, int, string> map)
    {
        budget.Spend(text.Length);
        var result = new TaintedTextBuilder(budget);
        int position = 0;
        foreach ((ReadOnlyMemory<char> part, bool isUntrusted) in text.Parts())
        {
            var mapped = new StringBuilder(part.Length);
            ReadOnlySpan<char> rest = part.Span;
            while (!rest.IsEmpty)
            {
                bool isWhole = Rune.DecodeFromUtf16(rest, out Rune rune, out int length) == System.Buffers.OperationStatus.Done;
                // Half of a surrogate pair has no case.
                _ = isWhole ? mapped.Append(map(rune, position)) : mapped.Append(rest[..length]);
                rest = rest[length..];
                position++;
            }

            result.Append(mapped.ToString(), isUntrusted);
        }

        return result.Build();
    }

    private static string Upper(Rune rune) => SpecialCasing.Upper(rune) ?? Rune.ToUpperInvariant(rune).ToString();

    private static string Lower(Rune rune) => SpecialCasing.Lower(rune) ?? Rune.ToLowerInvariant(rune).ToString();

    private static string Title(Rune rune) => SpecialCasing.Title(rune) ?? Upper(rune);
}
