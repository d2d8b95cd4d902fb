namespace KvPrune.Eval.Tasks;

/// <summary>A task whose facts stand between the sentences of a text.</summary>
/// <param name="Name">The task's name.</param>
/// <param name="Text">The text.</param>
/// <param name="Draw">Draws the facts and the questions about them.</param>
/// <param name="OwnLines">Whether every sentence has a line of its own; otherwise every other document has.</param>
internal sealed record HiddenFacts(
    string Name, SourceText Text, Func<Random, (string[] Facts, Question First, Question? Second)> Draw, bool OwnLines = false) : IEvalTask
{
    public bool CountsWords => false;

    public Document Create(int seed, int units)
    {
        var random = new Random(seed);
        string separator = random.Next(2) == 0 || OwnLines ? "\n" : " ";
        (string[] facts, Question first, Question? second) = Draw(random);
        return new Document(Text.Hide(random, facts, units, separator), first, second);
    }
}
