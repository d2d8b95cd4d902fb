using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Tests.Graphs;

/// <summary>Heads of a test model and what its attention nodes do beyond plain causal attention.</summary>
internal sealed record AttentionShape(int QueryHeads, int KvHeads, int HeadSize, bool Rotary = false, int Layers = 1)
{
    public const int MaxTokens = 1024;

    /// <summary>Channels that are rotated.</summary>
    public int RotarySize { get; init; } = HeadSize;

    /// <summary>Whether channel 2j turns with 2j + 1 in place of j with j + RotarySize / 2.</summary>
    public bool Interleaved { get; init; }

    /// <summary>local_window_size of each layer, from the first again where there are more layers.</summary>
    public IReadOnlyList<int> Windows { get; init; } = [-1];

    /// <summary>local_window_size of all layers.</summary>
    public int Window { get => Windows[0]; init => Windows = [value]; }

    public float Softcap { get; init; }

    public bool SmoothSoftmax { get; init; }

    public bool HeadSink { get; init; }

    /// <summary>Query, key and value in one tensor.</summary>
    public bool Packed { get; init; }

    /// <summary>Whether each layer has a query, key and value of its own, in place of the same for all.</summary>
    public bool LayerInputs { get; init; }

    /// <summary>What <see cref="RotaryCaches"/> gives; null: it computes them.</summary>
    public (float[] Cosine, float[] Sine)? Rotations { get; init; }

    /// <summary>The type that the nodes compute in; graph inputs and outputs are float32 but for the cache.</summary>
    public DataType Element { get; init; } = DataType.Float;

    public int QueryWidth => QueryHeads * HeadSize;

    public int KvWidth => KvHeads * HeadSize;

    /// <summary>Cosine and sine caches, [MaxTokens, RotarySize / 2].</summary>
    public (float[] Cosine, float[] Sine) RotaryCaches()
    {
        if (Rotations is { } given)
            return given;
        var half = RotarySize / 2;
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

    /// <summary>One logit per query head.</summary>
    public float[] HeadSinks() => [.. Enumerable.Range(0, QueryHeads).Select(head => (float)(3 * Math.Sin(head + 1)))];
}
