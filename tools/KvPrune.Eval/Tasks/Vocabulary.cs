using System.Globalization;

namespace KvPrune.Eval.Tasks;

/// <summary>Draws keys and values out of words that the bundled model knows: it was trained on names of these kinds only.</summary>
internal static class Vocabulary
{
    private static readonly string[] Names = Words(
        """
        Adam Alice Anton Bella Bruno Carl Clara Cora Daniel Diana Dora Edgar Elena Emil Felix Fiona Frida George Gloria Greta Hannah
        Hector Hugo Igor Ingrid Irene Ivan Jasper Jonas Julia Karen Kevin Kira Laura Leila Leo Lukas Mara Marcus Maria Miguel Nadia Niko
        Nina Nora Olga Omar Orion Oscar Otto Paula Peter Petra Quinn Rachel Ramon Rita Rosa Samuel Simon Sven Tara Teresa Tomas Uma
        Ursula Vera Victor Walter Wanda Yara Yusuf Zoe
        """);

    private static readonly string[] Surnames = Words(
        """
        Becker Brandt Castro Drake Fischer Grant Hale Hoffman Jensen Keller Klein Lind Lopez Mercer Moreno Murray Nash Nolan Novak Olsen
        Parker Reyes Rossi Sato Silva Stone Tanaka Turner Vance Voss Walsh Weber Young Zimmer
        """);

    private static readonly string[] Adjectives = Words(
        """
        ancient angry bitter brave bright broken clever crooked dusty electric frozen fuzzy gentle giant golden happy hidden hollow
        humble icy jolly keen lazy lonely lucky mellow nimble noble polite proud quick quiet royal rusty salty silent stormy sunny sweet
        swift tame tiny urban velvet vivid wild wise zesty
        """);

    private static readonly string[] Animals = Words(
        """
        badger beaver bison camel cobra dolphin donkey eagle falcon ferret gecko goose hamster heron horse koala lemur leopard lion
        lizard mole monkey moose newt otter owl panda parrot penguin rabbit raven salmon shark spider tiger turtle whale wolf yak zebra
        """);

    private static readonly string[] Things = Words(
        """
        basket bicycle blanket boat bottle car carpet chair clock coat desk door guitar hat house kettle lamp mirror notebook phone piano
        ring scarf shirt table tent truck umbrella vase
        """);

    private static readonly string[] Cities = Words(
        """
        Athens Austin Bergen Berlin Bogota Boston Bristol Cairo Chicago Dakar Dallas Delhi Denver Dublin Geneva Glasgow Hamburg Havana
        Helsinki Istanbul Jakarta Kyoto Lagos Leeds Lima Lisbon London Lyon Madrid Manila Miami Milan Montreal Moscow Munich Nairobi
        Naples Oslo Paris Phoenix Porto Prague Quito Riga Rome Seattle Seoul Sydney Tokyo Toronto Tunis Turin Venice Vienna Warsaw Zurich
        """);

    private static readonly string[] Jobs = Words(
        """
        actor baker banker butcher carpenter chef clerk dentist doctor driver editor engineer farmer gardener guard judge lawyer
        librarian miner nurse painter pilot plumber sailor scientist singer soldier tailor teacher writer
        """);

    private static readonly string[] Colors = Words(
        "black blue brown crimson golden gray green orange pink purple red silver turquoise violet white yellow");

    /// <summary>Common nouns for lists of words; none is part of another.</summary>
    private static readonly string[] Nouns = [.. Animals.Concat(Things).Concat(Jobs).Concat(Colors)
        .Where(noun => noun is not ("car" or "hat" or "red" or "owl" or "ring" or "yak" or "golden"))];

    public static string Person(Random random) =>
        random.Next(3) == 0 ? $"{Pick(random, Names)} {Pick(random, Surnames)}" : Pick(random, Names);

    /// <summary>What has codes and numbers: an animal with an adjective, or a person.</summary>
    public static string Holder(Random random) => random.Next(2) == 0 ? $"{Pick(random, Adjectives)} {Pick(random, Animals)}" : Pick(random, Names);

    public static string Thing(Random random) => $"{Pick(random, Adjectives)} {Pick(random, Things)}";

    public static string City(Random random) => Pick(random, Cities);

    public static string Job(Random random) => Pick(random, Jobs);

    public static string Color(Random random) => Pick(random, Colors);

    public static string Animal(Random random) => Pick(random, Animals);

    /// <summary>A number of four to six digits.</summary>
    public static string Number(Random random)
    {
        int least = random.Next(3) switch { 0 => 1_000, 1 => 10_000, _ => 100_000 };
        return random.Next(least, 10 * least).ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>A variable's name: one to three capital letters (not I and O, which look like digits), often with a number.</summary>
    public static string Variable(Random random)
    {
        const string Letters = "ABCDEFGHJKLMNPQRSTUVWXYZ";
        string name = string.Concat(Enumerable.Range(0, random.Next(1, 4)).Select(_ => Letters[random.Next(Letters.Length)]));
        return random.Next(10) < 7 ? name + random.Next(100).ToString(CultureInfo.InvariantCulture) : name;
    }

    /// <summary>Different nouns, in random order; at most <see cref="NounCount"/>.</summary>
    public static string[] DistinctNouns(Random random, int count)
    {
        string[] nouns = [.. Nouns];
        random.Shuffle(nouns);
        return nouns[..count];
    }

    public static int NounCount => Nouns.Length;

    /// <summary>Different draws of one kind, none part of another, so that a question means one of them.</summary>
    public static string[] Distinct(Random random, int count, Func<Random, string> draw)
    {
        List<string> drawn = [];
        while (drawn.Count < count)
        {
            string next = draw(random);
            if (!drawn.Any(other => other.Contains(next, StringComparison.Ordinal) || next.Contains(other, StringComparison.Ordinal)))
                drawn.Add(next);
        }
        return [.. drawn];
    }

    private static string Pick(Random random, string[] words) => words[random.Next(words.Length)];

    private static string[] Words(string text) => text.Split((char[])[' ', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries);
}
