using KvPrune.AI.Templates;

namespace KvPrune.AI.Tokenization;

/// <summary>
/// Cuts a prompt at its added tokens and normalises what lies between, as Hugging Face's tokenizers do: first at those
/// tokens that stand in the text as it is, then at those that are looked for in normalised text.
/// </summary>
/// <remarks>
/// A normaliser that moves characters (Unicode's composed form) would lose where the untrusted spans are: then the second
/// kind is looked for in the text as it is too, which differs only where a combining character touches a token.
/// </remarks>
internal sealed class PromptCutter
{
    private readonly Normalizer _normalizer;
    private readonly AddedTokenScanner _inText;
    private readonly AddedTokenScanner _inNormalised;

    public PromptCutter(TokenizerFile file)
    {
        _normalizer = file.Normalizer;
        _inText = new(file.AddedTokens.Where(token => !token.InNormalised).Select(token => (token.Content, token)));
        _inNormalised = new(file.AddedTokens.Where(token => token.InNormalised).Select(
            token => (_normalizer.KeepsPlaces ? _normalizer.Apply(token.Content) : token.Content, token)));
    }

    /// <summary>Text without added tokens, and the added token after it.</summary>
    /// <param name="Text">Normalised; may be empty.</param>
    /// <param name="StartsPrompt">Whether the prompt begins with this text.</param>
    /// <param name="Token">Where it stands in the prompt; null at the end of the prompt.</param>
    public readonly record struct Part(string Text, bool StartsPrompt, AddedTokenScanner.Occurrence? Token);

    /// <summary>A prompt that is plain text.</summary>
    public Part Plain(string text) => new(Normalise(text), true, null);

    /// <summary>The parts in order; only the last has no token. Added tokens that touch an untrusted span are text.</summary>
    /// <exception cref="ArgumentException">A span that lies outside the text.</exception>
    public List<Part> Cut(RenderedPrompt prompt)
    {
        List<(int Start, int End)> untrusted = Spans.Normalise(prompt);
        var parts = new List<Part>();
        int position = 0;
        int span = 0;
        foreach (AddedTokenScanner.Occurrence occurrence in _inText.Find(prompt.Text, untrusted))
        {
            parts.Add(CutNormalised(position, occurrence.Start) with { Token = occurrence });
            position = occurrence.End;
        }

        parts.Add(CutNormalised(position, prompt.Text.Length));
        return parts;

        // Adds the parts up to the last added token in normalised text; returns what follows it.
        Part CutNormalised(int start, int end)
        {
            string text = prompt.Text[start..end];
            bool keepsPlaces = _normalizer.KeepsPlaces;
            string searched = keepsPlaces ? Normalise(text) : text;
            if (_inNormalised.IsEmpty || text.Length == 0)
                return new(keepsPlaces ? searched : Normalise(text), start == 0, null);

            int shift = (keepsPlaces ? _normalizer.PrependedLength : 0) - start;
            while (span < untrusted.Count && untrusted[span].End <= start)
                span++;
            var within = new List<(int Start, int End)>();
            for (int i = span; i < untrusted.Count && untrusted[i].Start < end; i++)
                within.Add((Math.Max(untrusted[i].Start, start) + shift, Math.Min(untrusted[i].End, end) + shift));

            int from = 0;
            foreach (AddedTokenScanner.Occurrence found in _inNormalised.Find(searched, within))
            {
                AddedTokenScanner.Occurrence occurrence = found with
                {
                    Start = Math.Max(found.Start - shift, start),
                    End = Math.Max(found.End - shift, start),
                };
                parts.Add(new(TextOf(from, found.Start), start == 0 && from == 0, occurrence));
                from = found.End;
            }

            return new(TextOf(from, searched.Length), start == 0 && from == 0, null);

            string TextOf(int first, int last) => keepsPlaces ? searched[first..last] : Normalise(searched[first..last]);
        }
    }

    private string Normalise(string text) => text.Length == 0 ? text : _normalizer.Apply(WellFormed(text));

    // An unpaired surrogate counts as U+FFFD.
    private static string WellFormed(string text)
    {
        if (text.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF') < 0)
            return text;
        var chars = text.ToCharArray();
        for (int i = 0; i < chars.Length; i++)
        {
            if (!char.IsSurrogate(chars[i]))
                continue;
            if (char.IsHighSurrogate(chars[i]) && i + 1 < chars.Length && char.IsLowSurrogate(chars[i + 1]))
                i++;
            else
                chars[i] = '\uFFFD';
        }

        return new string(chars);
    }
}
