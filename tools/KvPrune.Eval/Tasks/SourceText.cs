using System.Text.RegularExpressions;

namespace KvPrune.Eval.Tasks;

/// <summary>A natural text: its sentences stand around the facts of documents, and the whole is what perplexity is measured on.</summary>
internal sealed partial class SourceText
{
    private const int LeastSentences = 100;
    private const int ShortestSentence = 20;
    private const int LongestSentence = 260;

    private SourceText(string text, string[] sentences)
    {
        Text = text;
        Sentences = sentences;
    }

    /// <summary>The whole text.</summary>
    public string Text { get; }

    /// <summary>Its sentences in their order, without headings and without very short and very long ones.</summary>
    public IReadOnlyList<string> Sentences { get; }

    /// <exception cref="ArgumentException">The file has too few sentences.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static SourceText Load(string path)
    {
        string text = File.ReadAllText(path);
        string[] sentences =
        [
            .. text.Split('\n').Where(line => !line.StartsWith('=')).SelectMany(line => SentenceEnds().Split(line))
                .Select(sentence => sentence.Trim()).Where(sentence => sentence.Length is > ShortestSentence and < LongestSentence),
        ];
        return sentences.Length >= LeastSentences
            ? new SourceText(text, sentences)
            : throw new ArgumentException($"{path} has {sentences.Length} sentences; documents need at least {LeastSentences}.");
    }

    /// <summary>Puts facts between sentences: in their order, at random places.</summary>
    /// <param name="random">Draws the places; the same ones, as fractions, whatever the number of sentences.</param>
    /// <param name="facts">The facts' sentences.</param>
    /// <param name="sentences">How many sentences stand around them, from a random place of the text on.</param>
    /// <param name="separator">What stands between two sentences.</param>
    public string Hide(Random random, IReadOnlyList<string> facts, int sentences, string separator)
    {
        int first = random.Next(Sentences.Count);
        double[] places = [.. facts.Select(_ => random.NextDouble()).Order()];
        List<string> parts = [];
        int next = 0;
        for (int i = 0; i <= sentences; i++)
        {
            while (next < facts.Count && (int)(places[next] * (sentences + 1)) == i) parts.Add(facts[next++]);
            if (i < sentences) parts.Add(Sentences[(first + i) % Sentences.Count]);
        }
        return string.Join(separator, parts);
    }

    [GeneratedRegex("""(?<=[.!?"]) +(?=[A-Z"])""")]
    private static partial Regex SentenceEnds();
}
