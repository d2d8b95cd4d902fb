using KvPrune.AI.Runtimes.GenAI.Interop;
using KvPrune.AI.Templates;
using KvPrune.AI.Tokenization;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>GenAI's tokenizer of a model folder. U+0000 and unpaired surrogates count as U+FFFD.</summary>
internal sealed class GenAITokenizer : IPromptTokenizer
{
    private readonly Lock _encoding = new(); // the native tokenizer's splitter remembers where it is in a text
    private readonly TokenizerHandle _tokenizer;
    private readonly TokenInventory _tokens;
    private readonly AddedTokenFinder _finder;

    /// <param name="tokenizer">The native tokenizer; it stays the caller's.</param>
    /// <param name="tokens">What it knows.</param>
    public GenAITokenizer(TokenizerHandle tokenizer, TokenInventory tokens)
    {
        _tokenizer = tokenizer;
        _tokens = tokens;
        _finder = new AddedTokenFinder(tokens.AddedTokens);
        VocabularySize = tokens.Ids.Max() + 1;
        SpecialTokens = tokens.AddedTokens.Where(token => token.IsSpecial).ToDictionary(token => token.Text, token => token.Id);
    }

    public int VocabularySize { get; }

    public IReadOnlyDictionary<string, int> SpecialTokens { get; }

    public bool HasToken(int id) => _tokens.Ids.Contains(id);

    /// <inheritdoc/>
    /// <remarks>
    /// The native tokenizer matches added tokens wherever they stand. Where one that a message wrote would be matched the
    /// text is cut, and the parts are encoded each by itself.
    /// </remarks>
    /// <exception cref="NotSupportedException">A message holds a special token of one character, which cannot be cut.</exception>
    public EncodedPrompt Encode(RenderedPrompt prompt)
    {
        string text = GenAIText.Clean(prompt.Text);
        List<int> ids = [];
        int from = 0;
        foreach (int cut in FindCuts(text, Spans.Normalise(prompt)))
        {
            EncodePart(text[from..cut], ids);
            from = cut;
        }
        EncodePart(text[from..], ids);
        return new EncodedPrompt([.. ids], []);
    }

    public int? CountPrefix(EncodedPrompt whole, RenderedPrompt prefix)
    {
        int[] ids = Encode(prefix).Tokens;
        return whole.Tokens.AsSpan().StartsWith(ids) ? ids.Length : null;
    }

    // GenAI's own decoder loses bytes that are no UTF-8, and up to three good characters after them.
    public IStreamingDetokenizer CreateDetokenizer() =>
        _tokens.Bytes is { } bytes ? new StreamingDetokenizer(bytes) : new GenAIDetokenizer(_tokenizer);

    private SortedSet<int> FindCuts(string text, List<(int Start, int End)> untrusted)
    {
        SortedSet<int> cuts = [];
        int searched = 0;
        foreach ((int spanStart, int spanEnd) in untrusted)
        {
            int from = Math.Max(searched, spanStart - _finder.MaxLength + 1);
            int to = Math.Min(text.Length, spanEnd + _finder.MaxLength - 1);
            foreach ((TokenInventory.AddedToken token, int start) in _finder.Find(text, from, to))
            {
                int end = start + token.Text.Length;
                if (end <= spanStart || start >= spanEnd) continue;
                if (end - start > 1 && cuts.GetViewBetween(start + 1, end - 1).Count > 0) continue;
                if (CutInside(text, start, end) is { } place) cuts.Add(place);
                else if (token.IsSpecial) throw new NotSupportedException($"A message holds '{token.Text}', a special token of one character, which GenAI's tokenizer cannot take as text.");
            }
            searched = Math.Max(searched, spanEnd - _finder.MaxLength + 1);
        }
        return cuts;
    }

    /// <summary>
    /// Where a token's text goes from signs to letters or back, as tokenizers split text there anyway, else its middle;
    /// null if it is one character.
    /// </summary>
    private static int? CutInside(string text, int start, int end)
    {
        for (int i = start + 1; i < end; i++)
        {
            if (char.IsLetterOrDigit(text[i - 1]) != char.IsLetterOrDigit(text[i]) && !char.IsLowSurrogate(text[i])) return i;
        }
        int middle = start + ((end - start) / 2);
        if (char.IsLowSurrogate(text[middle])) middle++;
        return middle > start && middle < end ? middle : null;
    }

    private unsafe void EncodePart(string text, List<int> ids)
    {
        if (text.Length == 0) return;
        NativeMethods.OgaCreateSequences(out SequencesHandle sequences).ThrowOnFailure();
        using (sequences)
        {
            lock (_encoding) NativeMethods.OgaTokenizerEncode(_tokenizer, text, sequences).ThrowOnFailure();
            int count = (int)NativeMethods.OgaSequencesGetSequenceCount(sequences, 0);
            ids.AddRange(new ReadOnlySpan<int>(NativeMethods.OgaSequencesGetSequenceData(sequences, 0), count));
        }
    }
}
