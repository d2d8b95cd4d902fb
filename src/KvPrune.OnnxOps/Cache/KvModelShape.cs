namespace KvPrune.OnnxOps;

/// <summary>What the cache has to know of a decoder.</summary>
/// <param name="Layers">Attention layers.</param>
/// <param name="QueryHeads">Query heads of a layer, a multiple of <paramref name="KvHeads"/>.</param>
/// <param name="KvHeads">KV heads of a layer.</param>
/// <param name="HeadSize">Channels of a head.</param>
/// <param name="MaxTokens">The longest sequence the model takes.</param>
public sealed record KvModelShape(int Layers, int QueryHeads, int KvHeads, int HeadSize, long MaxTokens)
{
    /// <summary>Bytes that K and V of <paramref name="tokens"/> tokens take unpruned in 16-bit, the usual baseline.</summary>
    public long DenseBytes(long tokens)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(tokens);
        return checked(2L * Layers * KvHeads * HeadSize * sizeof(ushort) * tokens);
    }
}
