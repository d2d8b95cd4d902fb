namespace LongDocumentChat;

/// <summary>A question whose right answer is known.</summary>
internal sealed record ExamQuestion(string Question, string Answer);
