namespace KvPrune.AI.Tokenization;

/// <summary>The entry "pre_tokenizer" of a tokenizer.json: the cuts that merges do not cross.</summary>
/// <param name="mark">What is put in front of a text; null for nothing.</param>
/// <param name="steps">Applied one after the other, each to the pieces of the one before.</param>
internal sealed class PreTokenizer(PreTokenizer.LeadingMark? mark, IReadOnlyList<SplitStep> steps)
{
    /// <summary>A space to begin a text with, so that its first word is the token it is inside a sentence.</summary>
    /// <param name="Text">A space, or the character that stands for one in all of the text.</param>
    /// <param name="When">Which texts get it.</param>
    internal sealed record LeadingMark(char Text, MarkedTexts When);

    /// <summary>Texts that get a mark if they do not begin with one. Added tokens cut a prompt into several texts.</summary>
    internal enum MarkedTexts
    {
        None,
        FirstOfPrompt,
        All,
    }

    /// <summary>The text with its spaces marked.</summary>
    /// <param name="text">A text that is not empty.</param>
    /// <param name="isFirst">Whether the prompt begins with it.</param>
    public string Mark(string text, bool isFirst)
    {
        if (mark is null)
            return text;
        text = text.Replace(' ', mark.Text);
        bool marked = mark.When == MarkedTexts.All || (mark.When == MarkedTexts.FirstOfPrompt && isFirst);
        return marked && text[0] != mark.Text ? mark.Text + text : text;
    }

    /// <summary>Start and length of the pieces, in order.</summary>
    public List<(int Start, int Length)> Split(string text) => PieceSplitter.Split(text, steps);
}
