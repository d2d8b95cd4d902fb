namespace KvPrune.AI.Templates.Jinja;

/// <summary>
/// Indices and slices as Python has them: negative ones count from the end, and text is counted in code points.
/// </summary>
internal static class Slicing
{
    /// <summary>One item of a list or one character of a text; <see cref="Undefined"/> beyond the ends.</summary>
    public static object? Item(object? value, long index, RenderBudget budget)
    {
        if (value is IReadOnlyList<object?> list)
            return Resolve(index, list.Count) is int position ? list[position] : Missing(index);
        if (value is not TaintedText text)
            return Missing(index);

        budget.SpendOnText(text.Length);
        int[] starts = PythonText.CodePointStarts(text.Value);
        return Resolve(index, starts.Length - 1) is int character ? CodePoint(text, starts, character) : Missing(index);
    }

    public static object Slice(object? value, long? start, long? stop, long? step, RenderBudget budget)
    {
        if (step == 0)
            throw new TemplateFaultException("the step of a slice is zero.");
        switch (value)
        {
            case IReadOnlyList<object?> list:
                List<int> chosen = Positions(list.Count, start, stop, step ?? 1);
                budget.Spend(chosen.Count);
                List<object?> items = chosen.ConvertAll(position => list[position]);
                return list is TupleValue ? new TupleValue(items) : items;
            case TaintedText text:
                return SliceText(text, start, stop, step ?? 1, budget);
            default:
                throw new TemplateFaultException($"{Values.Describe(value)} cannot be sliced.");
        }
    }

    /// <summary>The characters of a text, each a text of its own.</summary>
    public static List<object?> Characters(TaintedText text, RenderBudget budget)
    {
        budget.Spend(text.Length);
        int[] starts = PythonText.CodePointStarts(text.Value);
        return [.. Enumerable.Range(0, starts.Length - 1).Select(character => CodePoint(text, starts, character))];
    }

    private static TaintedText SliceText(TaintedText text, long? start, long? stop, long step, RenderBudget budget)
    {
        budget.SpendOnText(text.Length);
        int[] starts = PythonText.CodePointStarts(text.Value);
        List<int> chosen = Positions(starts.Length - 1, start, stop, step);
        if (chosen.Count == 0)
            return TaintedText.Empty;
        if (step == 1)
            return text.Substring(starts[chosen[0]], starts[chosen[^1] + 1] - starts[chosen[0]]);

        var builder = new TaintedTextBuilder(budget);
        foreach (int character in chosen)
            builder.Append(CodePoint(text, starts, character));
        return builder.Build();
    }

    private static TaintedText CodePoint(TaintedText text, int[] starts, int character) =>
        text.Substring(starts[character], starts[character + 1] - starts[character]);

    private static int? Resolve(long index, int count)
    {
        long position = index < 0 ? index + count : index;
        return position >= 0 && position < count ? (int)position : null;
    }

    private static Undefined Missing(long index) => new($"item {index}");

    private static List<int> Positions(int count, long? start, long? stop, long step)
    {
        bool forward = step > 0;
        // Where a backward slice ends before the first item, its end is -1.
        long lowest = forward ? 0 : -1;
        long highest = forward ? count : count - 1;
        long from = start is long first ? Clamp(first, count, lowest, highest) : forward ? lowest : highest;
        long to = stop is long last ? Clamp(last, count, lowest, highest) : forward ? highest : lowest;

        var positions = new List<int>();
        // A step beyond the length ends the slice; cut it short so that adding it cannot overflow.
        long stride = Math.Clamp(step, -(long)count - 1, (long)count + 1);
        for (long position = from; forward ? position < to : position > to; position += stride)
            positions.Add((int)position);
        return positions;
    }

    private static long Clamp(long index, int count, long lowest, long highest) =>
        Math.Clamp(index < 0 ? index + count : index, lowest, highest);
}
