using KvPrune.AI.Templates;

namespace KvPrune.AI.Tokenization;

/// <summary>Brings the spans of a prompt, which any caller may have made, into order.</summary>
internal static class Spans
{
    /// <summary>The untrusted spans sorted and merged, so that none is empty and none touches another.</summary>
    public static List<(int Start, int End)> Normalise(RenderedPrompt prompt)
    {
        var spans = new List<(int Start, int End)>(prompt.UntrustedSpans.Count);
        foreach (Range range in prompt.UntrustedSpans)
        {
            int start = range.Start.GetOffset(prompt.Text.Length);
            int end = range.End.GetOffset(prompt.Text.Length);
            if (start < 0 || start > end || end > prompt.Text.Length)
            {
                throw new ArgumentException(
                    $"The span {range} does not lie in a text of {prompt.Text.Length} characters.", nameof(prompt));
            }

            if (start < end)
                spans.Add((start, end));
        }

        spans.Sort();
        var merged = new List<(int Start, int End)>(spans.Count);
        foreach ((int start, int end) in spans)
        {
            if (merged.Count > 0 && start <= merged[^1].End)
                merged[^1] = (merged[^1].Start, Math.Max(end, merged[^1].End));
            else
                merged.Add((start, end));
        }

        return merged;
    }
}
