namespace KvPrune.Eval.Tasks;

/// <summary>Which words a list holds most often (RULER's aggregation tasks, arXiv 2404.06654, section 3).</summary>
/// <param name="Name">The task's name.</param>
/// <param name="Question">What is asked.</param>
/// <param name="Asked">How many words are asked for.</param>
/// <param name="Counts">How often each word is to stand in a list of the given length, most frequent first.</param>
/// <param name="Numbered">Whether the words are numbered.</param>
internal sealed record WordCounting(string Name, string Question, int Asked, Func<int, IEnumerable<int>> Counts, bool Numbered) : IEvalTask
{
    /// <summary>Some words of equal, high frequency among many rare ones.</summary>
    public static WordCounting CommonWords { get; } = new(
        "common-words", "Which 5 words are the most common in the list above?", 5, CommonCounts, Numbered: true);

    /// <summary>Frequencies that fall with the square of the rank.</summary>
    public static WordCounting FrequentWords { get; } = new(
        "frequent-words", "Which 3 words stand most often in the text above?", 3, FrequentCounts, Numbered: false);

    public bool CountsWords => true;

    public Document Create(int seed, int units)
    {
        var random = new Random(seed);
        string[] words = Vocabulary.DistinctNouns(random, Vocabulary.NounCount);
        string[] list = [.. Counts(units).Take(words.Length).SelectMany((count, i) => Enumerable.Repeat(words[i], count))];
        random.Shuffle(list);
        string[] answers = words[..Asked];
        return new Document(
            string.Join(' ', Numbered ? list.Select((word, i) => FormattableString.Invariant($"{i + 1}. {word}")) : list),
            new Question(Question, answers, string.Join(", ", answers)), Second: null);
    }

    // A quarter of the list is common words; a rare one stands a quarter as often, rounded up.
    private static IEnumerable<int> CommonCounts(int units)
    {
        const int Common = 5;
        int common = Math.Max(2, units / (4 * Common)), rare = (common + 3) / 4;
        for (int i = 0; i < Common; i++) yield return common;
        for (int left = units - (Common * common); left > 0; left -= rare) yield return Math.Min(rare, left);
    }

    // Falling strictly down to the fourth word, so that the three most frequent ones are unique.
    private static IEnumerable<int> FrequentCounts(int units)
    {
        const double SumOfInverseSquares = Math.PI * Math.PI / 6;
        int[] least = [4, 3, 2];
        for (int rank = 1; rank <= least.Length; rank++)
            yield return Math.Max(least[rank - 1], (int)Math.Round(units / (SumOfInverseSquares * rank * rank)));
        for (int rank = least.Length + 1; ; rank++)
        {
            int count = (int)(units / (SumOfInverseSquares * rank * rank));
            if (count == 0) yield break;
            yield return count;
        }
    }
}
