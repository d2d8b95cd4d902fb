namespace KvPrune.AI.Templates.Jinja;

/// <summary>Text that knows which parts of it came from message contents.</summary>
internal sealed class TaintedText
{
    public static readonly TaintedText Empty = new("", []);

    private readonly IReadOnlyList<(int Start, int End)> _untrusted;

    /// <param name="value">The text.</param>
    /// <param name="untrusted">Spans of it, sorted, none empty and none touching another.</param>
    public TaintedText(string value, IReadOnlyList<(int Start, int End)> untrusted)
    {
        Value = value;
        _untrusted = untrusted;
    }

    public string Value { get; }

    public int Length => Value.Length;

    public IReadOnlyList<(int Start, int End)> UntrustedSpans => _untrusted;

    public static TaintedText Trusted(string value) => new(value, []);

    public static TaintedText Untrusted(string value) => new(value, value.Length == 0 ? [] : [(0, value.Length)]);

    public TaintedText Substring(int start, int length)
    {
        if (length == 0)
            return Empty;
        int end = start + length;
        var spans = new List<(int, int)>();
        for (int i = FirstSpanEndingAfter(start); i < _untrusted.Count && _untrusted[i].Start < end; i++)
            spans.Add((Math.Max(_untrusted[i].Start, start) - start, Math.Min(_untrusted[i].End, end) - start));
        return new TaintedText(Value.Substring(start, length), spans);
    }

    /// <summary>The text in parts that are wholly trusted or wholly untrusted, in order.</summary>
    public IEnumerable<(ReadOnlyMemory<char> Text, bool IsUntrusted)> Parts()
    {
        int position = 0;
        foreach ((int start, int end) in _untrusted)
        {
            if (start > position)
                yield return (Value.AsMemory(position, start - position), false);
            yield return (Value.AsMemory(start, end - start), true);
            position = end;
        }

        if (position < Value.Length)
            yield return (Value.AsMemory(position), false);
    }

    // By bisection, so that cutting a text into characters stays linear.
    private int FirstSpanEndingAfter(int position)
    {
        int low = 0;
        int high = _untrusted.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_untrusted[middle].End <= position)
                low = middle + 1;
            else
                high = middle;
        }

        return low;
    }
}
