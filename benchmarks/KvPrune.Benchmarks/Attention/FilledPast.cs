using KvPrune.OnnxOps;

namespace KvPrune.Benchmarks.Attention;

/// <summary>The past of one set of inputs, compressed under any policy without being read by the operator.</summary>
internal sealed class FilledPast : IDisposable
{
    private readonly KvSequence? _rows;

    /// <param name="inputs">The rows.</param>
    /// <param name="policies">Those that will be asked for.</param>
    /// <param name="tokens">How many of the first tokens are filled in.</param>
    /// <exception cref="KvCacheException">There is no memory left.</exception>
    public FilledPast(AttentionInputs inputs, IReadOnlyList<PruningPolicy> policies, int tokens)
    {
        Inputs = inputs;
        Manager = new KvCacheManager(inputs.Shape.ToModelShape(inputs.Tokens));
        if (tokens == 0)
            return;
        // Deferred rows have no policy; this one never comes to bear.
        _rows = Manager.CreateSequence(PruningPolicy.Exact);
        _rows.OpenDeferredSegment(tokens, policies);
        _rows.Fill(
            0, ByHead(inputs.KeyRows(0, tokens).Span, inputs.Shape), ByHead(inputs.ValueRows(0, tokens).Span, inputs.Shape),
            inputs.QueryRows(inputs.FirstQuery, tokens - inputs.FirstQuery).Span);
    }

    public AttentionInputs Inputs { get; }

    public KvCacheManager Manager { get; }

    /// <summary>A new sequence with the filled tokens under <paramref name="policy"/>, empty where there are none.</summary>
    public KvSequence Compress(PruningPolicy policy) => _rows?.SealAs(policy) ?? Manager.CreateSequence(policy);

    public void Dispose()
    {
        _rows?.Dispose();
        Manager.Dispose();
    }

    // [tokens, KV heads, head size] to [KV heads, tokens, head size].
    private static float[] ByHead(ReadOnlySpan<float> rows, AttentionShape shape)
    {
        var tokens = rows.Length / shape.KvWidth;
        var result = new float[rows.Length];
        for (var head = 0; head < shape.KvHeads; head++)
        {
            for (var token = 0; token < tokens; token++)
            {
                rows.Slice((token * shape.KvWidth) + (head * shape.HeadSize), shape.HeadSize)
                    .CopyTo(result.AsSpan(((head * tokens) + token) * shape.HeadSize));
            }
        }

        return result;
    }
}
