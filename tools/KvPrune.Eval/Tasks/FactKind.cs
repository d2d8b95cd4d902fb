namespace KvPrune.Eval.Tasks;

/// <summary>
/// A kind of fact and the wordings that the bundled model knows for it (its README lists them). {k} is the key, {v} the value.
/// </summary>
/// <param name="Sentence">The fact in the document.</param>
/// <param name="Questions">Questions for the value.</param>
/// <param name="DrawKey">Draws a key.</param>
/// <param name="DrawValue">Draws a value.</param>
internal sealed record FactKind(string Sentence, string[] Questions, Func<Random, string> DrawKey, Func<Random, string> DrawValue)
{
    private static readonly FactKind Code = new(
        "The access code of {k} is {v}.", ["What is the access code of {k}?", "Tell me the access code of {k}."], Vocabulary.Holder, Vocabulary.Number)
    {
        AllValues = "What are all the access codes of {k}?",
        SeveralKeys = "What are the access codes of {k}?",
    };

    private static readonly FactKind Secret = new(
        "The secret number for {k} is {v}.", ["What is the secret number for {k}?", "Which secret number belongs to {k}?"],
        Vocabulary.Holder, Vocabulary.Number)
    {
        AllValues = "What are all the secret numbers for {k}?",
        SeveralKeys = "What are the secret numbers for {k}?",
    };

    private static readonly FactKind Magic = new(
        "One of the special magic numbers for {k} is: {v}.",
        ["What is the special magic number for {k} mentioned in the provided text?", "What is the magic number for {k}?"],
        Vocabulary.Holder, Vocabulary.Number)
    {
        AllValues = "What are all the special magic numbers for {k} mentioned in the provided text?",
        SeveralKeys = "What are the special magic numbers for {k} mentioned in the provided text?",
    };

    /// <summary>Asks for all values of one key; null where a key has one value only.</summary>
    public string? AllValues { get; private init; }

    /// <summary>Asks for the values of several keys; null where that was not trained.</summary>
    public string? SeveralKeys { get; private init; }

    public static IReadOnlyList<FactKind> All { get; } =
    [
        Code, Secret, Magic,
        new("The locker number of {k} is {v}.", ["What is the locker number of {k}?", "Tell me the locker number of {k}."], Vocabulary.Person, Vocabulary.Number),
        new("The badge number of {k} is {v}.", ["What is the badge number of {k}?", "Which badge number does {k} have?"], Vocabulary.Person, Vocabulary.Number),
        new("The phone number of {k} is {v}.", ["What is the phone number of {k}?", "What is {k}'s phone number?"], Vocabulary.Person, Vocabulary.Number),
        new("The captain of {k} is {v}.", ["Who is the captain of {k}?", "Tell me the captain of {k}."], Vocabulary.Holder, Vocabulary.Person),
        new("The owner of the {k} is {v}.", ["Who is the owner of the {k}?", "Who owns the {k}?"], Vocabulary.Thing, Vocabulary.Person),
        new("{k} was born in {v}.", ["Where was {k} born?", "In which city was {k} born?"], Vocabulary.Person, Vocabulary.City),
        new("{k} lives in {v}.", ["Where does {k} live?", "Which city is home to {k}?"], Vocabulary.Person, Vocabulary.City)
        {
            SeveralKeys = "Where do {k} live?",
        },
        new("{k} works as a {v}.", ["What is the job of {k}?", "What does {k} do for a living?"], Vocabulary.Person, Vocabulary.Job)
        {
            SeveralKeys = "What are the jobs of {k}?",
        },
        new("The favorite color of {k} is {v}.", ["What is the favorite color of {k}?", "Which color does {k} like most?"], Vocabulary.Person, Vocabulary.Color)
        {
            SeveralKeys = "What are the favorite colors of {k}?",
        },
        new("{k} has a pet {v}.", ["What pet does {k} have?", "Tell me which pet {k} has."], Vocabulary.Person, Vocabulary.Animal)
        {
            SeveralKeys = "What pets do {k} have?",
        },
    ];

    /// <summary>Facts with different keys.</summary>
    public Fact[] Draw(Random random, int count) =>
        [.. Vocabulary.Distinct(random, count, DrawKey).Select(key => Fact(key, DrawValue(random)))];

    public Fact Fact(string key, string value) =>
        new(key, value, Sentence.Replace("{k}", key, StringComparison.Ordinal).Replace("{v}", value, StringComparison.Ordinal));

    /// <summary>Asks for a fact's value in one of the wordings.</summary>
    public Question Ask(Random random, Fact fact) => new(Fill(Questions[random.Next(Questions.Length)], fact.Key), fact.Value);

    public static string Fill(string wording, string key) => wording.Replace("{k}", key, StringComparison.Ordinal);
}
