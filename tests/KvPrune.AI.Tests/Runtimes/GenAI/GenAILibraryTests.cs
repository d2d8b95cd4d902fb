using KvPrune.AI.Chat;
using KvPrune.AI.Runtimes.GenAI.Interop;

namespace KvPrune.AI.Tests.Runtimes.GenAI;

/// <summary>What is missing or broken is named; the process goes on.</summary>
public sealed class GenAILibraryTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kvprune-").FullName;

    private string Library => Path.Combine(_folder, Path.GetFileName(
        OperatingSystem.IsWindows() ? "onnxruntime-genai.dll" : OperatingSystem.IsMacOS() ? "libonnxruntime-genai.dylib" : "libonnxruntime-genai.so"));

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_missing_library_is_reported_with_the_package_to_add()
    {
        Assert.False(GenAILibrary.Exists(_folder));
        var options = new KvPruneOptions { ModelPath = BundledModel.Folder, Runtime = DecoderRuntimeKind.GenAI, GenAILibraryFolder = _folder };
        var error = Assert.Throws<DllNotFoundException>(() => new KvPrunedChatClient(options));
        Assert.Contains("Microsoft.ML.OnnxRuntimeGenAI", error.Message, StringComparison.Ordinal);
        Assert.Contains(nameof(KvPruneOptions.GenAILibraryFolder), error.Message, StringComparison.Ordinal);
        Assert.Contains(_folder, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_a_folder_the_applications_own_places_are_searched()
    {
        // This project references no GenAI package, so there is none until a place is added.
        Assert.False(GenAILibrary.Exists(null));
        const string Places = "NATIVE_DLL_SEARCH_DIRECTORIES";
        object? before = AppContext.GetData(Places);
        File.WriteAllText(Library, "");
        try
        {
            AppContext.SetData(Places, $"{before}{Path.PathSeparator}{_folder}");
            Assert.True(GenAILibrary.Exists(null));
        }
        finally
        {
            AppContext.SetData(Places, before);
        }
        Assert.False(GenAILibrary.Exists(null));
    }

    [Fact]
    public void A_file_that_is_no_library_is_reported()
    {
        File.WriteAllText(Library, "404: not found");
        Assert.Contains(Library, Assert.Throws<DllNotFoundException>(() => GenAILibrary.LoadFile(Library)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_library_of_another_kind_is_reported()
    {
        File.Copy(Path.Combine(AppContext.BaseDirectory, "libkvprune.so"), Library);
        string message = Assert.Throws<DllNotFoundException>(() => GenAILibrary.LoadFile(Library)).Message;
        Assert.Contains("has no function Oga", message, StringComparison.Ordinal);
        Assert.Contains(Library, message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_second_copy_is_refused()
    {
        NativeGenAI.Require();
        File.WriteAllText(Library, "");
        string message = Assert.Throws<DllNotFoundException>(() => GenAILibrary.EnsureLoaded(_folder)).Message;
        Assert.Contains(Library, message, StringComparison.Ordinal);
        Assert.Contains(NativeGenAI.Folder, message, StringComparison.Ordinal);
        GenAILibrary.EnsureLoaded(NativeGenAI.Folder);
        GenAILibrary.EnsureLoaded(null); // what is loaded will do
    }

    [Fact]
    public void Another_path_to_the_same_file_will_do()
    {
        NativeGenAI.Require();
        File.CreateSymbolicLink(Library, Path.Combine(NativeGenAI.Folder, Path.GetFileName(Library)));
        GenAILibrary.EnsureLoaded(_folder);
        string link = Path.Combine(_folder, "link");
        Directory.CreateSymbolicLink(link, NativeGenAI.Folder);
        GenAILibrary.EnsureLoaded(link);
    }

    [Fact]
    public void The_ONNX_Runtime_of_the_process_has_to_be_one_file_that_is_there()
    {
        string file = Path.Combine(_folder, "libonnxruntime.so.1");
        string Refusal(params string[] modules) => Assert.Throws<DllNotFoundException>(() => GenAILibrary.OnnxRuntimeFile(modules)).Message;
        Assert.Contains("libonnxruntime.so", Refusal("/lib/libc.so"), StringComparison.Ordinal);
        Assert.Contains($"{file} (deleted)", Refusal($"{file} (deleted)"), StringComparison.Ordinal);
        File.WriteAllText(file, "");
        Assert.Equal(file, GenAILibrary.OnnxRuntimeFile(["/lib/libc.so", file, file]));
        Assert.Contains("several", Refusal(file, "/lib/libonnxruntime.so"), StringComparison.Ordinal);
    }

    [Fact]
    public void The_process_holds_one_ONNX_Runtime()
    {
        NativeGenAI.Require();
        var images = File.ReadLines("/proc/self/maps")
            .Where(line => line.Contains("/libonnxruntime.so", StringComparison.Ordinal))
            .Select(line => line[line.IndexOf('/', StringComparison.Ordinal)..]).Distinct();
        Assert.Single(images);
        Assert.Equal("1", NativeEnvironment.Get("ORT_DISABLE_TELEMETRY"));
        Assert.Null(NativeEnvironment.Get("ORT_LIB_PATH"));
    }

    [Fact]
    public void Options_that_cannot_be_right_are_refused()
    {
        var options = new KvPruneOptions
        {
            ModelPath = BundledModel.Folder, Runtime = (DecoderRuntimeKind)7, GenAILibraryFolder = Path.Combine(_folder, "none"),
        };
        string message = Assert.ThrowsAny<Exception>(() => new KvPrunedChatClient(options)).Message;
        Assert.Contains("Runtime is 7", message, StringComparison.Ordinal);
        Assert.Contains(options.GenAILibraryFolder, message, StringComparison.Ordinal);
    }
}
