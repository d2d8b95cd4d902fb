using System.Globalization;
using System.Text;

namespace KvPrune.AI.Tokenization;

/// <summary>
/// Unicode's composed form, NFC (https://www.unicode.org/reports/tr15, section 1.3). .NET's own leaves text as it is where
/// an application runs without culture data (InvariantGlobalization), as many containers do, and refuses U+FFFE.
/// </summary>
internal static class ComposedForm
{
    private const int LastUnaffected = 0x2FF;

    private static readonly Dictionary<int, (int First, int Second)> Decompositions = [];
    private static readonly Dictionary<(int First, int Second), int> Compositions = [];
    private static readonly Dictionary<int, byte> Classes = [];
    private static readonly HashSet<int> MayChange = [];

    static ComposedForm()
    {
        using Stream stream = typeof(ComposedForm).Assembly.GetManifestResourceStream(typeof(ComposedForm), "UnicodeComposition.txt")
            ?? throw new InvalidOperationException("The table of Unicode compositions is not in the assembly.");
        using var reader = new StreamReader(stream);
        while (reader.ReadLine() is { } line)
        {
            if (line.StartsWith('#'))
                continue;
            string[] parts = line.TrimStart('=').Split(' ');
            int code = Hex(parts[0]), next = Hex(parts[1]);
            if (line.StartsWith('='))
            {
                for (; code <= next; code++)
                    Classes.Add(code, byte.Parse(parts[2], CultureInfo.InvariantCulture));
                continue;
            }

            int second = parts.Length > 2 && parts[2] != "x" ? Hex(parts[2]) : 0;
            Decompositions.Add(code, (next, second));
            if (parts[^1] == "x")
                MayChange.Add(code);
            else if (Compositions.TryAdd((next, second), code))
                MayChange.Add(second);
        }

        MayChange.UnionWith(Classes.Keys);
    }

    /// <param name="text">Well-formed UTF-16.</param>
    public static string Of(string text)
    {
        if (!IsAffected(text))
            return text;
        var codes = new List<int>(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
            Decompose(rune.Value, codes);
        SortMarks(codes);
        Compose(codes);
        var composed = new StringBuilder(text.Length);
        foreach (int code in codes)
            composed.Append(new Rune(code));
        return composed.ToString();
    }

    private static bool IsAffected(string text)
    {
        if (text.AsSpan().IndexOfAnyExceptInRange('\0', (char)LastUnaffected) < 0)
            return false;
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (rune.Value > LastUnaffected && (MayChange.Contains(rune.Value) || Hangul.IsJamoAfterFirst(rune.Value)))
                return true;
        }

        return false;
    }

    private static void Decompose(int code, List<int> codes)
    {
        if (Hangul.TryDecompose(code, codes))
            return;
        if (!Decompositions.TryGetValue(code, out (int First, int Second) parts))
        {
            codes.Add(code);
            return;
        }

        Decompose(parts.First, codes);
        if (parts.Second != 0)
            Decompose(parts.Second, codes);
    }

    // Marks between two characters of class 0 stand in the order of their classes, equal ones as they came.
    private static void SortMarks(List<int> codes)
    {
        for (int start = 0; start < codes.Count; start++)
        {
            int end = start;
            while (end < codes.Count && Class(codes[end]) != 0)
                end++;
            if (end - start > 1)
            {
                int[] sorted = [.. codes.GetRange(start, end - start).OrderBy(Class)];
                for (int i = 0; i < sorted.Length; i++)
                    codes[start + i] = sorted[i];
            }

            start = end;
        }
    }

    // A mark joins the last starter unless a mark of its class, or another starter, stands between.
    private static void Compose(List<int> codes)
    {
        int starter = -1;
        int length = 0;
        int classBefore = 0;
        foreach (int code in codes.ToArray())
        {
            int mark = Class(code);
            bool isBlocked = starter < 0 || (length - starter > 1 && classBefore >= mark);
            if (!isBlocked && TryCompose(codes[starter], code, out int composed))
            {
                codes[starter] = composed;
                continue;
            }

            if (mark == 0)
                starter = length;
            classBefore = mark;
            codes[length++] = code;
        }

        codes.RemoveRange(length, codes.Count - length);
    }

    private static bool TryCompose(int first, int second, out int composed) =>
        Hangul.TryCompose(first, second, out composed) || Compositions.TryGetValue((first, second), out composed);

    private static int Class(int code) => Classes.GetValueOrDefault(code);

    private static int Hex(string text) => int.Parse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    /// <summary>Korean syllables, whose parts follow from their numbers.</summary>
    private static class Hangul
    {
        private const int Syllables = 0xAC00, Leading = 0x1100, Vowels = 0x1161, Trailing = 0x11A7;
        private const int LeadingCount = 19, VowelCount = 21, TrailingCount = 28;
        private const int SyllableCount = LeadingCount * VowelCount * TrailingCount;

        public static bool IsJamoAfterFirst(int code) => code is >= Vowels and < Trailing + TrailingCount;

        public static bool TryDecompose(int code, List<int> codes)
        {
            int index = code - Syllables;
            if (index is < 0 or >= SyllableCount)
                return false;
            codes.Add(Leading + (index / TrailingCount / VowelCount));
            codes.Add(Vowels + (index / TrailingCount % VowelCount));
            if (index % TrailingCount != 0)
                codes.Add(Trailing + (index % TrailingCount));
            return true;
        }

        public static bool TryCompose(int first, int second, out int composed)
        {
            if (first - Leading is >= 0 and < LeadingCount && second - Vowels is >= 0 and < VowelCount)
            {
                composed = Syllables + ((((first - Leading) * VowelCount) + second - Vowels) * TrailingCount);
                return true;
            }

            composed = first + second - Trailing;
            return first - Syllables is >= 0 and < SyllableCount
                && (first - Syllables) % TrailingCount == 0
                && second - Trailing is > 0 and < TrailingCount;
        }
    }
}
