using System.Text;

namespace KvPrune.AI.Templates.Jinja;

/// <summary>Puts <see cref="TaintedText"/> together, within the budget.</summary>
internal sealed class TaintedTextBuilder(RenderBudget budget)
{
    private readonly StringBuilder _text = new();
    private readonly List<(int Start, int End)> _untrusted = [];

    public TaintedTextBuilder Append(TaintedText text)
    {
        foreach ((ReadOnlyMemory<char> part, bool isUntrusted) in text.Parts())
            Append(part.Span, isUntrusted);
        return this;
    }

    public TaintedTextBuilder Append(ReadOnlySpan<char> text, bool isUntrusted = false)
    {
        if (text.IsEmpty)
            return this;
        int start = _text.Length;
        budget.SpendOnText(text.Length);
        budget.RequireLength((long)start + text.Length);
        _text.Append(text);
        if (!isUntrusted)
            return this;
        if (_untrusted.Count > 0 && _untrusted[^1].End == start)
            _untrusted[^1] = (_untrusted[^1].Start, _text.Length);
        else
            _untrusted.Add((start, _text.Length));
        return this;
    }

    public TaintedText Build() => new(_text.ToString(), _untrusted);
}
