using KvPrune.AI.Models;
using KvPrune.AI.Runtimes.GenAI.Interop;

namespace KvPrune.AI.Runtimes.GenAI;

/// <summary>Loads a folder's model into GenAI with another graph in place of the folder's, which is only read.</summary>
internal static class GenAIModel
{
    // GenAI's interface does not promise that two models may be loaded at once.
    private static readonly Lock Loading = new();

    /// <summary>Loads a model.</summary>
    /// <param name="folder">The folder: configuration, tokenizer and external weights.</param>
    /// <param name="graph">The ONNX file's bytes.</param>
    /// <param name="settings">What the configuration is overlaid with, as JSON; empty: nothing.</param>
    /// <param name="cpuOnly">Leaves out the execution providers that the configuration names.</param>
    /// <exception cref="ModelFolderException">GenAI cannot load it.</exception>
    public static unsafe ModelHandle Load(GenAIModelFolder folder, byte[] graph, string settings, bool cpuOnly)
    {
        lock (Loading)
        {
            try
            {
                NativeMethods.OgaCreateConfig(folder.Path, out ConfigHandle config).ThrowOnFailure();
                using (config)
                {
                    // A name of its own, so that the folder's file can never be what is loaded.
                    const string GraphName = "kvprune.onnx";
                    NativeMethods.OgaConfigOverlay(config, $$$$"""{"model":{"decoder":{"filename":"{{{{GraphName}}}}"}}}""").ThrowOnFailure();
                    if (settings.Length > 0) NativeMethods.OgaConfigOverlay(config, settings).ThrowOnFailure();
                    if (cpuOnly) NativeMethods.OgaConfigClearProviders(config).ThrowOnFailure();
                    fixed (byte* bytes = graph)
                    {
                        NativeMethods.OgaConfigAddModelData(config, GraphName, bytes, (nuint)graph.Length).ThrowOnFailure();
                        NativeMethods.OgaCreateModelFromConfig(config, out ModelHandle model).ThrowOnFailure();
                        return model;
                    }
                }
            }
            catch (GenAIException error)
            {
                throw new ModelFolderException(folder.Path, null, $"ONNX Runtime GenAI cannot load the model: {error.Message}", error);
            }
        }
    }
}
