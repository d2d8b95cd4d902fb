using KvPrune.AI.Models;
using KvPrune.AI.Runtimes.GenAI;
using KvPrune.AI.Runtimes.GenAI.Interop;

namespace KvPrune.AI.Tests.Runtimes.GenAI;

/// <summary>Tokenizer and chat template of a folder, by GenAI, without a decoder of ours.</summary>
internal sealed class GenAITextFixture : IDisposable
{
    private static readonly Lazy<GenAITextFixture> LazyBundled = new(() => new(BundledModel.Folder));

    private readonly ModelHandle _model;

    public GenAITextFixture(string folder)
    {
        NativeGenAI.Require();
        NativeMethods.OgaCreateConfig(folder, out ConfigHandle config).ThrowOnFailure();
        using (config) NativeMethods.OgaCreateModelFromConfig(config, out _model).ThrowOnFailure();
        Text = new GenAITextModel(_model, GenAIModelFolder.Load(folder).TokenizerPath);
    }

    /// <summary>Those of the bundled model, for all tests and as long as they run.</summary>
    public static GenAITextFixture Bundled
    {
        get
        {
            NativeGenAI.Require();
            return LazyBundled.Value;
        }
    }

    public GenAITextModel Text { get; }

    public void Dispose()
    {
        Text.Dispose();
        _model.Dispose();
    }
}
