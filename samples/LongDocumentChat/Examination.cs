namespace LongDocumentChat;

/// <summary>The outcome of asking questions whose answers are known.</summary>
/// <param name="Name">The pruning preset.</param>
/// <param name="Questions">Questions asked.</param>
/// <param name="Correct">Of these, answered exactly as expected.</param>
/// <param name="Totals">What it took.</param>
internal sealed record Examination(string Name, int Questions, int Correct, ChatTotals Totals)
{
    /// <summary>Asks all questions in one conversation.</summary>
    public static async Task<Examination> RunAsync(
        string name, DocumentChat chat, IReadOnlyList<ExamQuestion> questions, ChatView view, CancellationToken cancellationToken)
    {
        view.ShowTitle(name);
        var correct = 0;
        foreach (var (question, expected) in questions)
        {
            if (await view.AskAsync(chat, question, cancellationToken) == expected)
                correct++;
            else
                view.ShowWrong(expected);
        }

        var totals = ChatTotals.Create(chat.Statistics) ?? throw new InvalidOperationException("The client reported no statistics.");
        return new Examination(name, questions.Count, correct, totals);
    }
}
