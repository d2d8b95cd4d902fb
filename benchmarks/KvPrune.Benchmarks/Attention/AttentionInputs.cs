using KvPrune.Benchmarks.Measuring;

namespace KvPrune.Benchmarks.Attention;

/// <summary>Normally distributed queries, keys and values of one layer, the same for every contestant.</summary>
internal sealed class AttentionInputs
{
    private const int Seed = 20240917;

    // What the formats' policies observe of a past.
    private const int ObservedTokens = 32;

    /// <param name="shape">Heads of the layer.</param>
    /// <param name="tokens">Tokens attended to by the last new one.</param>
    /// <param name="newTokens">The last of them that a step reads; 0: all.</param>
    /// <param name="chunkTokens">New tokens that one run takes at most; 0: all.</param>
    /// <param name="batch">Sequences of one step. They hold equal rows, each in memory of its own.</param>
    /// <param name="softcap">Bound of the logits; 0: none.</param>
    public AttentionInputs(AttentionShape shape, int tokens, int newTokens = 1, int chunkTokens = 0, int batch = 1, float softcap = 0)
    {
        newTokens = newTokens == 0 ? tokens : Math.Min(newTokens, tokens);
        chunkTokens = chunkTokens == 0 ? newTokens : Math.Min(chunkTokens, newTokens);
        Shape = shape;
        Tokens = tokens;
        NewTokens = newTokens;
        ChunkTokens = chunkTokens;
        Batch = batch;
        Softcap = softcap;
        FirstQuery = Math.Max(0, Past - ObservedTokens);
        // One stream each, so that one's length does not change another's values.
        Queries = NormalValues.Of(Seed, (long)(tokens - FirstQuery) * shape.QueryWidth);
        Keys = NormalValues.Of(Seed + 1, (long)tokens * shape.KvWidth);
        Values = NormalValues.Of(Seed + 2, (long)tokens * shape.KvWidth);
    }

    public AttentionShape Shape { get; }

    /// <summary>The past and the new tokens, which are the last.</summary>
    public int Tokens { get; }

    /// <summary>Tokens of one step.</summary>
    public int NewTokens { get; }

    /// <summary>New tokens that one run takes at most.</summary>
    public int ChunkTokens { get; }

    /// <summary>Sequences of one step.</summary>
    public int Batch { get; }

    /// <summary>Bound of the logits; 0: none.</summary>
    public float Softcap { get; }

    public int Past => Tokens - NewTokens;

    /// <summary>The runs of one step: first token and number of tokens.</summary>
    public IEnumerable<(int First, int Count)> Chunks()
    {
        for (var first = Past; first < Tokens; first += ChunkTokens)
            yield return (first, Math.Min(ChunkTokens, Tokens - first));
    }

    /// <summary>The token that <see cref="Queries"/> begin with: those of a past are only seen where they choose what is kept.</summary>
    public int FirstQuery { get; }

    /// <summary>[Tokens − first query, query heads × head size].</summary>
    public float[] Queries { get; }

    /// <summary>[Tokens, KV heads × head size].</summary>
    public float[] Keys { get; }

    /// <summary>[Tokens, KV heads × head size].</summary>
    public float[] Values { get; }

    /// <summary>Queries of the tokens [first, first + count), as often as a batch has sequences: [batch, count, width].</summary>
    public Memory<float> QueryRows(int first, int count, int batch = 1) => Rows(Queries, Shape.QueryWidth, first - FirstQuery, count, batch);

    /// <summary>Keys of the same form.</summary>
    public Memory<float> KeyRows(int first, int count, int batch = 1) => Rows(Keys, Shape.KvWidth, first, count, batch);

    /// <summary>Values of the same form.</summary>
    public Memory<float> ValueRows(int first, int count, int batch = 1) => Rows(Values, Shape.KvWidth, first, count, batch);

    private static Memory<float> Rows(float[] rows, int width, int first, int count, int batch)
    {
        var one = rows.AsMemory(first * width, count * width);
        if (batch == 1)
            return one;
        var all = new float[batch * one.Length];
        for (var sequence = 0; sequence < batch; sequence++)
            one.CopyTo(all.AsMemory(sequence * one.Length));
        return all;
    }
}
