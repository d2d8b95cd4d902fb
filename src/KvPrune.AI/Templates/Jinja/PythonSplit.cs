namespace KvPrune.AI.Templates.Jinja;

/// <summary>split, rsplit, splitlines and replace of Python's strings; every part keeps what is untrusted in it.</summary>
internal static class PythonSplit
{
    /// <param name="text">The text.</param>
    /// <param name="separator">The separator; null for runs of white space, which give no empty parts.</param>
    /// <param name="most">The most cuts to make; no limit below 0.</param>
    /// <param name="fromEnd">Whether the cuts are counted from the end.</param>
    /// <param name="budget">The budget.</param>
    public static List<object?> Split(TaintedText text, string? separator, long most, bool fromEnd, RenderBudget budget)
    {
        budget.Spend(text.Length);
        if (separator is { Length: 0 })
            throw new TemplateFaultException("the separator to split at is empty.");
        long cuts = most < 0 ? long.MaxValue : most;
        List<(int Start, int End)> parts = separator is null
            ? (fromEnd ? WordsFromEnd(text.Value, cuts) : Words(text.Value, cuts))
            : (fromEnd ? PartsFromEnd(text.Value, separator, cuts) : Parts(text.Value, separator, cuts));
        return [.. parts.Select(part => text.Substring(part.Start, part.End - part.Start))];
    }

    public static List<object?> Lines(TaintedText text, bool keepsEnds, RenderBudget budget)
    {
        budget.Spend(text.Length);
        var lines = new List<object?>();
        string value = text.Value;
        int start = 0;
        while (start < value.Length)
        {
            int end = start;
            while (end < value.Length && !IsLineEnd(value[end]))
                end++;
            int next = end < value.Length && value[end] == '\r' && end + 1 < value.Length && value[end + 1] == '\n'
                ? end + 2
                : Math.Min(end + 1, value.Length);
            lines.Add(text.Substring(start, (keepsEnds ? next : end) - start));
            start = next;
        }

        return lines;
    }

    public static TaintedText Replace(TaintedText text, string old, TaintedText replacement, long most, RenderBudget budget)
    {
        budget.Spend(text.Length);
        long left = most < 0 ? long.MaxValue : most;
        var result = new TaintedTextBuilder(budget);
        int position = 0;
        if (old.Length == 0)
        {
            // An empty text is found before every character and at the end.
            int[] starts = PythonText.CodePointStarts(text.Value);
            for (int i = 0; i < starts.Length && left > 0; i++, left--)
            {
                result.Append(text.Substring(position, starts[i] - position)).Append(replacement);
                position = starts[i];
            }

            return result.Append(text.Substring(position, text.Length - position)).Build();
        }

        while (left-- > 0)
        {
            int found = text.Value.IndexOf(old, position, StringComparison.Ordinal);
            if (found < 0)
                break;
            result.Append(text.Substring(position, found - position)).Append(replacement);
            position = found + old.Length;
        }

        return result.Append(text.Substring(position, text.Length - position)).Build();
    }

    private static bool IsLineEnd(char value) =>
        value is '\n' or '\r' or '\v' or '\f' or '\u001C' or '\u001D' or '\u001E' or '\u0085' or '\u2028' or '\u2029';

    private static List<(int Start, int End)> Words(string text, long cuts)
    {
        var words = new List<(int, int)>();
        int position = 0;
        while (true)
        {
            while (position < text.Length && PythonText.IsWhiteSpace(text[position]))
                position++;
            if (position == text.Length)
                return words;
            int start = position;
            if (words.Count == cuts)
            {
                words.Add((start, text.Length));
                return words;
            }

            while (position < text.Length && !PythonText.IsWhiteSpace(text[position]))
                position++;
            words.Add((start, position));
        }
    }

    private static List<(int Start, int End)> WordsFromEnd(string text, long cuts)
    {
        var words = new List<(int, int)>();
        int position = text.Length;
        while (true)
        {
            while (position > 0 && PythonText.IsWhiteSpace(text[position - 1]))
                position--;
            if (position == 0)
                break;
            int end = position;
            if (words.Count == cuts)
            {
                words.Add((0, end));
                break;
            }

            while (position > 0 && !PythonText.IsWhiteSpace(text[position - 1]))
                position--;
            words.Add((position, end));
        }

        words.Reverse();
        return words;
    }

    private static List<(int Start, int End)> Parts(string text, string separator, long cuts)
    {
        var parts = new List<(int, int)>();
        int position = 0;
        while (parts.Count < cuts && text.IndexOf(separator, position, StringComparison.Ordinal) is int found and >= 0)
        {
            parts.Add((position, found));
            position = found + separator.Length;
        }

        parts.Add((position, text.Length));
        return parts;
    }

    private static List<(int Start, int End)> PartsFromEnd(string text, string separator, long cuts)
    {
        var parts = new List<(int, int)>();
        int end = text.Length;
        while (parts.Count < cuts && text.AsSpan(0, end).LastIndexOf(separator) is int found and >= 0)
        {
            parts.Add((found + separator.Length, end));
            end = found;
        }

        parts.Add((0, end));
        parts.Reverse();
        return parts;
    }
}
