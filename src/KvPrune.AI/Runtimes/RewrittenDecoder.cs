using KvPrune.AI.Models;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Runtimes;

/// <summary>A folder's decoder with the pruned operator in it, not loaded yet.</summary>
/// <param name="Cache">Creates the sequences that the graph accepts.</param>
/// <param name="Model">The model file's bytes.</param>
/// <param name="Inputs">The graph's inputs.</param>
internal sealed record RewrittenDecoder(DecoderCache Cache, byte[] Model, DecoderInputs Inputs)
{
    /// <summary>Reads and rewrites a folder's decoder. The caller disposes the cache.</summary>
    /// <param name="folder">The model.</param>
    /// <param name="kvByteLimit">The most bytes of KV cache; null: no limit.</param>
    /// <param name="policy">One whose weights are read now; null: when a sequence needs them.</param>
    /// <inheritdoc cref="OnnxRuntimeDecoder.Load" path="/exception"/>
    public static RewrittenDecoder Load(GenAIModelFolder folder, long? kvByteLimit, PruningPolicy? policy)
    {
        var rewriter = GroupQueryAttentionRewriter.Load(folder.ModelPath);
        KvModelShape shape = rewriter.Shape(folder.ContextLength);
        folder.RequireShape(shape);
        var inputs = new DecoderInputs(folder, rewriter.InputNames);
        folder.RequireLogits(rewriter);
        var manager = new KvCacheManager(shape, kvByteLimit);
        var cache = new DecoderCache(manager, folder.ModelPath);
        try
        {
            if (policy is not null) cache.Prepare(policy);
            return new RewrittenDecoder(cache, rewriter.Rewrite(manager.Id, LogitsPositions.Last), inputs);
        }
        catch
        {
            cache.Dispose();
            throw;
        }
    }
}
