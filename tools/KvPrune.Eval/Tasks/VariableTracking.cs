namespace KvPrune.Eval.Tasks;

/// <summary>Following variables that are set through others (RULER's variable tracking, arXiv 2404.06654, section 3).</summary>
internal static class VariableTracking
{
    private const int Chains = 4;

    /// <summary>Several chains, mixed, each in its order; the answer writes a whole chain back to its number.</summary>
    /// <param name="random">Draws names, numbers and order.</param>
    /// <param name="hops">How often a chain's number is handed on.</param>
    public static (string[] Facts, Question First, Question? Second) Create(Random random, int hops)
    {
        string[] names = Vocabulary.Distinct(random, Chains * (hops + 1), Vocabulary.Variable);
        string[] numbers = Vocabulary.Distinct(random, Chains, Vocabulary.Number);
        var lines = new List<(double Place, string Line)>();
        for (int chain = 0; chain < Chains; chain++)
        {
            double[] places = [.. Enumerable.Range(0, hops + 1).Select(_ => random.NextDouble()).Order()];
            for (int i = 0; i <= hops; i++)
                lines.Add((places[i], $"VAR {Name(chain, i)} = {(i == 0 ? numbers[chain] : "VAR " + Name(chain, i - 1))}"));
        }
        int first = random.Next(Chains);
        return ([.. lines.OrderBy(line => line.Place).Select(line => line.Line)], Ask(first), Ask((first + 1) % Chains));

        string Name(int chain, int i) => names[(chain * (hops + 1)) + i];
        Question Ask(int chain)
        {
            string[] through = [.. Enumerable.Range(0, hops).Reverse().Select(i => "VAR " + Name(chain, i))];
            return new($"What is the value of VAR {Name(chain, hops)}?", [numbers[chain]], string.Join(" = ", [.. through, numbers[chain]]));
        }
    }
}
