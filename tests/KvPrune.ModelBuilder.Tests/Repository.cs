namespace KvPrune.ModelBuilder.Tests;

/// <summary>Finds files of the repository from wherever the tests run.</summary>
internal static class Repository
{
    public static string Root { get; } = FindRoot();

    public static string BundledModel { get; } = Path.Combine(Root, "models", "tiny-retrieval-llama");

    private static string FindRoot()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "KvPruneAI.sln")))
                return folder.FullName;
        }

        throw new InvalidOperationException($"No KvPruneAI.sln above {AppContext.BaseDirectory}.");
    }
}
