using System.Text.Json;

namespace LongDocumentChat;

/// <summary>The files in the folder Data beside the program.</summary>
internal static class BundledDocument
{
    private static readonly string Folder = Path.Combine(AppContext.BaseDirectory, "Data");

    /// <summary>The text of <paramref name="file"/>, or of the bundled document when that is null.</summary>
    /// <exception cref="IOException">The file is missing, unreadable or empty.</exception>
    public static async Task<string> ReadAsync(string? file, CancellationToken cancellationToken)
    {
        file ??= Path.Combine(Folder, "document.txt");
        var text = await File.ReadAllTextAsync(file, cancellationToken);
        return string.IsNullOrWhiteSpace(text) ? throw new IOException($"{file} holds no text.") : text.Trim();
    }

    /// <summary>The bundled questions with their answers.</summary>
    public static async Task<IReadOnlyList<ExamQuestion>> ReadQuestionsAsync(CancellationToken cancellationToken)
    {
        await using var file = File.OpenRead(Path.Combine(Folder, "questions.json"));
        return await JsonSerializer.DeserializeAsync<List<ExamQuestion>>(file, JsonSerializerOptions.Web, cancellationToken) ?? [];
    }
}
