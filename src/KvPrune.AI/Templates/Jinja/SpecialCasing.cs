using System.Text;
namespace KvPrune.AI.Templates.Jinja;
internal static class SpecialCasing
{
    public static string? Upper(Rune rune) => null;
    public static string? Lower(Rune rune) => null;
    public static string? Title(Rune rune) => null;
}
