using KvPrune.AI.Runtimes;
using KvPrune.OnnxOps;

namespace KvPrune.Eval.Results;

/// <summary>What a compressed sequence takes, as the cache manager counts it: masks, scales, bitmaps and the dense tail included.</summary>
/// <param name="All">All bytes.</param>
/// <param name="Dense">Bytes of the same tokens in 16 bits.</param>
/// <param name="Sealed">Bytes of the compressed tokens alone.</param>
/// <param name="SealedDense">Bytes of these in 16 bits.</param>
internal readonly record struct CacheBytes(long All, long Dense, long Sealed, long SealedDense)
{
    public static CacheBytes Of(IDecoderSequence sequence, KvModelShape shape)
    {
        KvSequenceInfo info = sequence.GetInfo();
        return new(info.TotalBytes, shape.DenseBytes(info.Length), info.SealedBytes, shape.DenseBytes(info.SealedTokens));
    }

    public static CacheBytes operator +(CacheBytes a, CacheBytes b) =>
        new(a.All + b.All, a.Dense + b.Dense, a.Sealed + b.Sealed, a.SealedDense + b.SealedDense);
}
