using KvPrune.Eval.Running;
using KvPrune.Eval.Tasks;

namespace KvPrune.Eval.Tests.Running;

public sealed class SampleFactoryTests
{
    private static readonly EvalModel Model = Bundled.Model;

    public static TheoryData<string, int> TasksAndLengths =>
        [.. from name in TaskCatalogue.Names from length in (int[])[256, 1024, 2048] select new TheoryDataRow<string, int>(name, length)];

    [Theory]
    [MemberData(nameof(TasksAndLengths))]
    public void Prompts_come_close_to_their_length_and_never_pass_it(string name, int length)
    {
        for (int index = 0; index < 3; index++)
        {
            Sample sample = Create(name, length, index);
            // A sentence of 260 characters takes at most some 90 tokens.
            Assert.InRange(sample.Tokens.Length, length - 90, length);
            string text = Model.Decode(sample.Tokens);
            Assert.All(sample.First.Answers, answer => Assert.Contains(answer, text, StringComparison.Ordinal));
        }
    }

    [Fact]
    public void The_question_begins_where_the_document_ends()
    {
        Sample sample = Create("multi-key", 512, 0);
        Assert.Equal(sample.First.Text, Model.Decode(sample.Tokens[sample.DocumentTokens..]));
        Assert.Equal(sample.Second!.Text, Model.Decode(sample.FollowUp));
    }

    [Fact]
    public void Prompts_have_the_form_that_the_model_was_trained_on()
    {
        PromptEncoder.Prompt prompt = Model.Prompts.Encode("Mara lives in Oslo.", "Where does Mara live?");
        (int begin, int user, int end, int assistant) = (3066, 3069, 3071, 3070);
        int[] document = Model.Prompts.EncodeText("Mara lives in Oslo.\n"), question = Model.Prompts.EncodeText("Where does Mara live?");
        Assert.Equal([begin, user, .. document, .. question, end, assistant], prompt.Tokens);
        Assert.Equal(2 + document.Length, prompt.DocumentTokens);
        Assert.Equal(
            [end, user, .. question, end, assistant],
            Model.Prompts.EncodeFollowUp("Mara lives in Oslo.", "Who is Mara?", "not mentioned", "Where does Mara live?"));
        Assert.Equal(begin, Model.Prompts.FirstToken());
    }

    [Fact]
    public void A_seed_decides_and_the_number_of_samples_does_not()
    {
        Assert.Equal(Create("multi-value", 256, 4).Tokens, Create("multi-value", 256, 4).Tokens);
        Assert.NotEqual(Create("multi-value", 256, 4).Tokens, Create("multi-value", 256, 5).Tokens);
        Assert.NotEqual(Create("multi-value", 256, 4).Tokens, new SampleFactory(Model.Prompts, seed: 2).Create(Task("multi-value"), 256, 4).Tokens);
    }

    [Fact]
    public void A_length_that_the_facts_alone_pass_is_refused_with_the_numbers()
    {
        var error = Assert.Throws<ArgumentException>(() => Create("multi-key", 64, 0));
        Assert.Contains("multi-key", error.Message, StringComparison.Ordinal);
        Assert.Contains("64 are too few", error.Message, StringComparison.Ordinal);
    }

    private static Sample Create(string task, int length, int index) => new SampleFactory(Model.Prompts, seed: 1).Create(Task(task), length, index);

    private static IEvalTask Task(string name) => TaskCatalogue.Create(Bundled.Text).Single(task => task.Name == name);
}
