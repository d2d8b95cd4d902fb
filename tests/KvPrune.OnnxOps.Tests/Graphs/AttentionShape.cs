namespace KvPrune.OnnxOps.Tests.Graphs;

/// <summary>Heads of a test model.</summary>
internal sealed record AttentionShape(int QueryHeads, int KvHeads, int HeadSize, bool Rotary = false, int Layers = 1)
{
    public const int MaxTokens = 1024;

    public int QueryWidth => QueryHeads * HeadSize;

    public int KvWidth => KvHeads * HeadSize;

    /// <summary>Cosine and sine caches, [MaxTokens, HeadSize / 2].</summary>
    public (float[] Cosine, float[] Sine) RotaryCaches()
    {
        var half = HeadSize / 2;
        var cosine = new float[MaxTokens * half];
        var sine = new float[MaxTokens * half];
        for (var i = 0; i < cosine.Length; i++)
        {
            var angle = i / half * Math.Pow(10000, -(i % half) / (double)half);
            cosine[i] = (float)Math.Cos(angle);
            sine[i] = (float)Math.Sin(angle);
        }

        return (cosine, sine);
    }
}
