using KvPrune.AI.Templates;

namespace KvPrune.AI.Tokenization;

/// <summary>
/// Finds the added tokens of a prompt as Hugging Face's tokenizers do: first those that stand in the text as it is, then,
/// in what lies between, those that are looked for in normalised text.
/// </summary>
/// <remarks>
/// A normaliser that moves characters (Unicode's composed form) would lose where the untrusted spans are: then the second
/// kind is looked for in the text as it is too, which differs only where a combining character touches a token.
/// </remarks>
internal sealed class AddedTokenFinder
{
    private readonly Normalizer _normalizer;
    private readonly AddedTokenScanner _inText;
    private readonly AddedTokenScanner _inNormalised;

    public AddedTokenFinder(TokenizerFile file)
    {
        _normalizer = file.Normalizer;
        _inText = new(file.AddedTokens.Where(token => !token.InNormalised).Select(token => (token.Content, token)));
        _inNormalised = new(file.AddedTokens.Where(token => token.InNormalised).Select(
            token => (_normalizer.KeepsPlaces ? _normalizer.Apply(token.Content) : token.Content, token)));
    }

    /// <summary>A part of a prompt between added tokens, or before the first, or after the last.</summary>
    /// <param name="Start">Where it starts.</param>
    /// <param name="Continues">Whether it goes on in a text that was normalised as a whole.</param>
    public readonly record struct Gap(int Start, bool Continues);

    /// <summary>An added token and the part of the prompt after it.</summary>
    public readonly record struct Found(AddedTokenScanner.Occurrence Occurrence, bool IsFollowedByContinuation)
    {
        public Gap After => new(Occurrence.End, IsFollowedByContinuation);
    }

    /// <summary>The added tokens that lie wholly outside the untrusted spans, in order and without overlap.</summary>
    /// <exception cref="ArgumentException">A span that lies outside the text.</exception>
    public List<Found> Find(RenderedPrompt prompt)
    {
        List<(int Start, int End)> untrusted = Spans.Normalise(prompt);
        List<AddedTokenScanner.Occurrence> inText = _inText.Find(prompt.Text, untrusted);
        if (_inNormalised.IsEmpty)
            return inText.ConvertAll(occurrence => new Found(occurrence, false));

        var found = new List<Found>();
        int position = 0;
        int span = 0;
        foreach (AddedTokenScanner.Occurrence occurrence in inText)
        {
            FindInNormalised(prompt.Text, position, occurrence.Start, untrusted, ref span, found);
            found.Add(new(occurrence, false));
            position = occurrence.End;
        }

        FindInNormalised(prompt.Text, position, prompt.Text.Length, untrusted, ref span, found);
        return found;
    }

    private void FindInNormalised(
        string text, int start, int end, List<(int Start, int End)> untrusted, ref int span, List<Found> found)
    {
        if (start == end)
            return;
        bool keepsPlaces = _normalizer.KeepsPlaces;
        string part = text[start..end];
        int shift = keepsPlaces ? _normalizer.PrependedLength - start : -start;
        while (span < untrusted.Count && untrusted[span].End <= start)
            span++;
        var within = new List<(int Start, int End)>();
        for (int i = span; i < untrusted.Count && untrusted[i].Start < end; i++)
            within.Add((Math.Max(untrusted[i].Start, start) + shift, Math.Min(untrusted[i].End, end) + shift));

        foreach (AddedTokenScanner.Occurrence occurrence in _inNormalised.Find(keepsPlaces ? _normalizer.Apply(part) : part, within))
        {
            found.Add(new(
                occurrence with { Start = Math.Max(occurrence.Start - shift, start), End = Math.Max(occurrence.End - shift, start) },
                IsFollowedByContinuation: keepsPlaces));
        }
    }
}
