namespace KvPrune.Eval.Tasks;

/// <summary>Finding facts between sentences that have nothing to do with them (RULER's needle tasks, arXiv 2404.06654, section 3).</summary>
internal static class NeedleTasks
{
    private const int Distractors = 8;
    private const int KeysOfSeveralValues = 3;
    private const int ValuesOfAKey = 2;
    private const int KeysToChooseFrom = 6;
    private const int KeysAsked = 2;

    private static readonly FactKind[] WithSeveralValues = [.. FactKind.All.Where(kind => kind.AllValues is not null)];
    private static readonly FactKind[] WithSeveralKeys = [.. FactKind.All.Where(kind => kind.SeveralKeys is not null)];

    /// <summary>One fact.</summary>
    public static (string[] Facts, Question First, Question? Second) SingleNeedle(Random random)
    {
        FactKind kind = Pick(random, FactKind.All);
        Fact fact = kind.Draw(random, 1)[0];
        return ([fact.Sentence], kind.Ask(random, fact), null);
    }

    /// <summary>One of several facts of the same kind about different keys.</summary>
    public static (string[] Facts, Question First, Question? Second) MultiKey(Random random)
    {
        FactKind kind = Pick(random, FactKind.All);
        Fact[] facts = kind.Draw(random, Distractors);
        Fact[] asked = TwoOf(random, facts);
        return (Sentences(facts), kind.Ask(random, asked[0]), kind.Ask(random, asked[1]));
    }

    /// <summary>All values of one key, in the document's order, among others'.</summary>
    public static (string[] Facts, Question First, Question? Second) MultiValue(Random random)
    {
        FactKind kind = Pick(random, WithSeveralValues);
        string[] keys = Vocabulary.Distinct(random, KeysOfSeveralValues, kind.DrawKey);
        string[] values = Vocabulary.Distinct(random, KeysOfSeveralValues * ValuesOfAKey, kind.DrawValue);
        Fact[] facts = [.. values.Select((value, i) => kind.Fact(keys[i / ValuesOfAKey], value))];
        random.Shuffle(facts);
        Question Ask(string key)
        {
            string[] answers = [.. facts.Where(fact => fact.Key == key).Select(fact => fact.Value)];
            return new(FactKind.Fill(kind.AllValues!, key), answers, string.Join(", ", answers));
        }
        string[] asked = TwoOf(random, keys);
        return (Sentences(facts), Ask(asked[0]), Ask(asked[1]));
    }

    /// <summary>The values of two keys at once.</summary>
    public static (string[] Facts, Question First, Question? Second) MultiQuery(Random random)
    {
        FactKind kind = Pick(random, WithSeveralKeys);
        Fact[] facts = kind.Draw(random, KeysToChooseFrom);
        Fact[] order = [.. facts];
        random.Shuffle(order);
        Question Ask(Fact[] asked) => new(
            FactKind.Fill(kind.SeveralKeys!, string.Join(" and ", asked.Select(fact => fact.Key))),
            [.. asked.Select(fact => fact.Value)], string.Join(", ", asked.Select(fact => $"{fact.Key}: {fact.Value}")));
        return (Sentences(facts), Ask(order[..KeysAsked]), Ask(order[KeysAsked..(2 * KeysAsked)]));
    }

    private static string[] Sentences(Fact[] facts) => [.. facts.Select(fact => fact.Sentence)];

    private static T Pick<T>(Random random, IReadOnlyList<T> choices) => choices[random.Next(choices.Count)];

    private static T[] TwoOf<T>(Random random, T[] all)
    {
        T[] order = [.. all];
        random.Shuffle(order);
        return order[..2];
    }
}
