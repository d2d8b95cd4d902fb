using System.Reflection;
using KvPrune.AI.Runtimes.GenAI.Interop;

namespace KvPrune.AI.Tests.Runtimes.GenAI;

/// <summary>ONNX Runtime GenAI's native library, which is fetched and not part of the repository.</summary>
internal static class NativeGenAI
{
    public static string Folder { get; } = typeof(NativeGenAI).Assembly
        .GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "GenAILibraryFolder").Value!;

    /// <summary>Loads it; skips the running test where it is not.</summary>
    public static void Require()
    {
        Assert.SkipUnless(GenAILibrary.Exists(Folder), $"ONNX Runtime GenAI is not in {Folder}; eng/get-genai.sh fetches it.");
        GenAILibrary.EnsureLoaded(Folder);
    }
}
