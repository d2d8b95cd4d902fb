using System.Text;

namespace KvPrune.AI.Tests.Chat;

/// <summary>A generated document in which facts of the kinds that the bundled model knows stand between plain sentences.</summary>
internal sealed record FactDocument(string Text, IReadOnlyList<FactDocument.Fact> Facts)
{
    private static readonly string[] Filler =
    [
        "The rain had stopped before noon, and the road was dry again.",
        "Most of the houses along the river were built of stone.",
        "In the evening the wind turned and the boats came back.",
        "The council met twice that year and agreed on very little.",
        "A second bridge was planned, but the money went elsewhere.",
        "The harvest was late because the spring had been cold.",
        "Visitors came by train in the morning and left before dark.",
        "The old mill at the edge of the village was sold in the end.",
    ];

    private static readonly string[] Names =
        ["Elena", "Hugo", "Mara", "Otto", "Zoe", "Igor", "Frida", "Brenda", "Leila", "Kira", "Jasper", "Teresa"];

    /// <param name="seed">Equal seeds make equal documents.</param>
    /// <param name="sentences">Plain sentences, 12 to 16 tokens each.</param>
    /// <param name="facts">Facts, each about another person; at most 12.</param>
    public static FactDocument Create(int seed, int sentences, int facts)
    {
        var random = new Random(seed);
        string[] names = [.. Names.OrderBy(_ => random.Next()).Take(facts)];
        Fact[] all = [.. names.Select((name, i) => Make(i, name, random))];
        int[] places = [.. all.Select(_ => random.Next(sentences)).Order()];
        var text = new StringBuilder();
        for (int sentence = 0, next = 0; sentence < sentences; sentence++)
        {
            text.Append(Filler[random.Next(Filler.Length)]).Append(' ');
            while (next < all.Length && places[next] == sentence) text.Append(all[next++].Sentence).Append(' ');
        }
        return new FactDocument(text.ToString().TrimEnd(), all);
    }

    /// <summary>The message that asks for a fact.</summary>
    public string Ask(Fact fact) => $"{Text}\n{fact.Question}";

    private static Fact Make(int kind, string name, Random random)
    {
        string number = random.Next(1_000, 99_999).ToString(System.Globalization.CultureInfo.InvariantCulture);
        return (kind % 3) switch
        {
            0 => new($"The locker number of {name} is {number}.", $"What is the locker number of {name}?", number),
            1 => new($"The phone number of {name} is {number}.", $"What is the phone number of {name}?", number),
            _ => new($"The access code of {name} is {number}.", $"What is the access code of {name}?", number),
        };
    }

    internal sealed record Fact(string Sentence, string Question, string Answer);
}
