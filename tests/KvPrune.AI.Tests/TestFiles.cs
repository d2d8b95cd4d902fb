using System.Text.Json;

namespace KvPrune.AI.Tests;

/// <summary>Files of the repository.</summary>
internal static class TestFiles
{
    private static readonly string Root = FindRoot();

    public static string Path(string relativePath) => System.IO.Path.Combine(Root, relativePath);

    public static JsonElement ReadJson(string relativePath)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(Path(relativePath)));
        return document.RootElement.Clone();
    }

    private static string FindRoot()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(System.IO.Path.Combine(folder.FullName, "KvPruneAI.sln")))
                return folder.FullName;
        }

        throw new InvalidOperationException("The tests run outside the repository.");
    }
}
