namespace KvPrune.OnnxOps.Tests.Graphs;

/// <summary>The ways in which GenAI's model builder writes attention.</summary>
internal enum DecoderStyle
{
    /// <summary>GroupQueryAttention that rotates by itself.</summary>
    Plain,

    /// <summary>The same with the graph's position_ids as an input.</summary>
    PositionIds,

    /// <summary>GroupQueryAttention behind RotaryEmbedding nodes over position_ids.</summary>
    RotaryOutside,

    /// <summary>Plain, with Q and K normalized by nodes of their own.</summary>
    Normalized,

    /// <summary>The same with the norms inside GroupQueryAttention.</summary>
    FusedNorms,

    /// <summary>Plain, with the rotary caches chosen by the length of the attention mask.</summary>
    ChosenCaches,

    /// <summary>MultiHeadAttention behind RotaryEmbedding nodes, with the causal mask as its bias.</summary>
    MultiHead,

    /// <summary>The same with a bias for Q, K and V.</summary>
    MultiHeadBias,
}
