using KvPrune.AI.Models;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Runtimes;

/// <summary>A folder's decoder with the pruned operator in it, not loaded yet.</summary>
/// <param name="Manager">Creates the sequences that the graph accepts.</param>
/// <param name="Model">The model file's bytes.</param>
/// <param name="Inputs">The graph's inputs.</param>
internal sealed record RewrittenDecoder(KvCacheManager Manager, byte[] Model, DecoderInputs Inputs)
{
    /// <summary>Reads and rewrites a folder's decoder. The caller disposes the manager.</summary>
    /// <inheritdoc cref="OnnxRuntimeDecoder.Load" path="/exception"/>
    public static RewrittenDecoder Load(GenAIModelFolder folder, long? kvByteLimit)
    {
        var rewriter = GroupQueryAttentionRewriter.Load(folder.ModelPath);
        KvModelShape shape = rewriter.Shape(folder.ContextLength);
        folder.RequireShape(shape);
        var inputs = new DecoderInputs(folder, rewriter.InputNames);
        folder.RequireLogits(rewriter);
        var manager = new KvCacheManager(shape, kvByteLimit);
        try
        {
            return new RewrittenDecoder(manager, rewriter.Rewrite(manager.Id, LogitsPositions.Last), inputs);
        }
        catch
        {
            manager.Dispose();
            throw;
        }
    }
}
