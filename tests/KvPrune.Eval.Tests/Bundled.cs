using System.Reflection;
using KvPrune.Eval.Running;
using KvPrune.Eval.Tasks;

namespace KvPrune.Eval.Tests;

/// <summary>What comes with the repository.</summary>
internal static class Bundled
{
    public static string Folder { get; } = Path.Combine(
        typeof(Bundled).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "RepositoryRoot").Value!,
        "models", "tiny-retrieval-llama");

    private static readonly Lazy<EvalModel> LazyModel = new(() => EvalModel.Load(Folder, threads: 1));
    private static readonly Lazy<SourceText> LazyText = new(() => SourceText.Load(Path.Combine(AppContext.BaseDirectory, "Data", "wikitext-2-test.txt")));

    /// <summary>For tests that do not run it, which may share it; the others load their own.</summary>
    public static EvalModel Model => LazyModel.Value;

    public static SourceText Text => LazyText.Value;
}
