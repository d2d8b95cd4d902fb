using KvPrune.Eval.Tasks;

namespace KvPrune.Eval.Tests.Tasks;

public sealed class TaskTests
{
    private const int Seeds = 60;

    public static TheoryData<string> Names => [.. TaskCatalogue.Names];

    [Theory]
    [MemberData(nameof(Names))]
    public void A_seed_makes_one_document_and_another_seed_another(string name)
    {
        IEvalTask task = Task(name);
        HashSet<string> texts = [], questions = [];
        for (int seed = 0; seed < Seeds; seed++)
        {
            Document document = task.Create(seed, units: 40), again = task.Create(seed, units: 40);
            Assert.Equal(document.Text, again.Text);
            Assert.Equal(document.First.AnswerText, again.First.AnswerText);
            texts.Add(document.Text);
            questions.Add(document.First.Text + document.First.AnswerText);
        }
        Assert.Equal(Seeds, texts.Count);
        Assert.InRange(questions.Count, Seeds - 3, Seeds); // single facts with few values may come twice
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void The_answers_are_in_the_document_and_the_whole_answer_is_right(string name)
    {
        IEvalTask task = Task(name);
        for (int seed = 0; seed < Seeds; seed++)
        {
            Document document = task.Create(seed, units: 40);
            foreach (Question? question in (Question?[])[document.First, document.Second])
            {
                if (question is null) continue;
                Assert.All(question.Answers, answer => Assert.Contains(answer, document.Text, StringComparison.Ordinal));
                Assert.Equal(1, question.Score(question.AnswerText.ToUpperInvariant()));
                Assert.Equal(0, question.Score("?"));
            }
            Assert.NotEqual(document.First.Text, document.Second?.Text);
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Facts_and_questions_do_not_depend_on_the_length(string name)
    {
        IEvalTask task = Task(name);
        Document small = task.Create(seed: 5, units: 30), large = task.Create(seed: 5, units: 60);
        Assert.Equal(small.First.Text, large.First.Text);
        Assert.Equal(small.First.AnswerText, large.First.AnswerText);
        Assert.True(large.Text.Length > 1.5 * small.Text.Length);
    }

    [Fact]
    public void A_question_about_one_of_many_means_one_fact()
    {
        for (int seed = 0; seed < Seeds; seed++)
        {
            (string[] facts, Question first, _) = NeedleTasks.MultiKey(new Random(seed));
            Assert.Equal(8, facts.Distinct().Count());
            // The key is the part of the question that exactly one fact holds.
            string[] words = first.Text.Split(' ');
            IEnumerable<string> phrases = from start in Enumerable.Range(0, words.Length)
                                          from end in Enumerable.Range(start + 1, words.Length - start)
                                          select string.Join(' ', words[start..end]).TrimEnd('?', '.').Replace("'s", "", StringComparison.Ordinal);
            string fact = Assert.Single(facts, fact => fact.Contains(first.AnswerText, StringComparison.Ordinal)
                && phrases.Any(phrase => facts.Count(other => other.Contains(phrase, StringComparison.Ordinal)) == 1 && fact.Contains(phrase, StringComparison.Ordinal)));
            Assert.Contains(first.AnswerText, fact, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void All_values_of_a_key_are_asked_for_in_the_documents_order()
    {
        for (int seed = 0; seed < Seeds; seed++)
        {
            (string[] facts, Question first, _) = NeedleTasks.MultiValue(new Random(seed));
            string document = string.Join(' ', facts);
            Assert.Equal(2, first.Answers.Count);
            Assert.True(document.IndexOf(first.Answers[0], StringComparison.Ordinal) < document.IndexOf(first.Answers[1], StringComparison.Ordinal));
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Following_the_lines_of_a_chain_gives_its_answer(int hops)
    {
        for (int seed = 0; seed < Seeds; seed++)
        {
            (string[] lines, Question first, _) = VariableTracking.Create(new Random(seed), hops);
            var values = new Dictionary<string, string>();
            foreach (string line in lines) // each is set before it is used
            {
                string[] sides = line["VAR ".Length..].Split(" = ");
                values.Add(sides[0], sides[1].StartsWith("VAR ", StringComparison.Ordinal) ? $"{sides[1]} = {values[sides[1]["VAR ".Length..]]}" : sides[1]);
            }
            string asked = first.Text["What is the value of VAR ".Length..^1];
            Assert.Equal(values[asked], first.AnswerText);
            Assert.Equal(hops, first.AnswerText.Split(" = ").Length - 1);
        }
    }

    [Theory]
    [InlineData("common-words", 40)]
    [InlineData("common-words", 400)]
    [InlineData("frequent-words", 40)]
    [InlineData("frequent-words", 400)]
    public void Words_that_are_asked_for_stand_most_often(string name, int units)
    {
        Document document = Task(name).Create(seed: 3, units);
        string[] words = [.. document.Text.Split(' ').Where(word => !char.IsDigit(word[0]))];
        ILookup<bool, int> counts = words.GroupBy(word => word).ToLookup(group => document.First.Answers.Contains(group.Key), group => group.Count());
        Assert.Equal(document.First.Answers.Count, counts[true].Count());
        Assert.True(counts[true].Min() > counts[false].Max());
    }

    [Fact]
    public void A_text_without_enough_sentences_is_refused_with_its_path()
    {
        using var folder = new TemporaryFolder();
        string file = folder.File("short.txt");
        File.WriteAllText(file, "This is a sentence that is long enough. And here is another one of these.");
        var error = Assert.Throws<ArgumentException>(() => SourceText.Load(file));
        Assert.Contains(file, error.Message, StringComparison.Ordinal);
        Assert.Contains("2 sentences", error.Message, StringComparison.Ordinal);
    }

    private static IEvalTask Task(string name) => TaskCatalogue.Create(Bundled.Text).Single(task => task.Name == name);
}
