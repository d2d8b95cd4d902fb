namespace KvPrune.AI.Tokenization;

/// <summary>The entry "normalizer" of a tokenizer.json: how text is changed before it is cut.</summary>
internal sealed class Normalizer(IReadOnlyList<Normalizer.Step> steps)
{
    /// <summary>One change.</summary>
    internal abstract record Step
    {
        /// <summary>Text put in front of every text that is not empty.</summary>
        public sealed record Prepend(string Text) : Step;

        /// <summary>One string put in the place of another.</summary>
        public sealed record Replace(string Old, string New) : Step;

        /// <summary>Unicode's composed form (NFC).</summary>
        public sealed record Compose : Step;
    }

    /// <summary>
    /// Whether the characters of a text keep their places, apart from what is put in front of all.
    /// </summary>
    public bool KeepsPlaces { get; } = steps.All(step => step is Step.Prepend or Step.Replace { Old.Length: 1, New.Length: 1 });

    /// <summary>How many characters are put in front of a text.</summary>
    public int PrependedLength { get; } = steps.OfType<Step.Prepend>().Sum(step => step.Text.Length);

    /// <param name="text">Well-formed UTF-16.</param>
    public string Apply(string text)
    {
        if (text.Length == 0)
            return text;
        foreach (Step step in steps)
        {
            text = step switch
            {
                Step.Prepend prepend => prepend.Text + text,
                Step.Replace replace => text.Replace(replace.Old, replace.New, StringComparison.Ordinal),
                _ => ComposedForm.Of(text),
            };
        }

        return text;
    }
}
