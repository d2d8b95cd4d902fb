using KvPrune.OnnxOps.Onnx;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>
/// Finds out whether a value is the additive causal mask over a graph's attention mask: what makes it may read the
/// attention mask's elements and the shapes of other inputs, and gives what a causal mask is when ONNX Runtime runs it.
/// </summary>
internal sealed class CausalMasks(ModelProto model, GraphIndex index)
{
    private readonly Dictionary<(string Bias, int Heads), string> _known = [];

    /// <summary>
    /// The attention mask, an int64 graph input [batch, T], from which <paramref name="bias"/> of a node of
    /// <paramref name="heads"/> heads is made.
    /// </summary>
    /// <exception cref="ModelRewriteException">It is not the causal mask, or not known to be; says why.</exception>
    public string FindAttentionMask(string bias, int heads)
    {
        if (_known.TryGetValue((bias, heads), out var known))
            return known;
        var part = MaskSubgraph.Extract(model, index, bias);
        MaskProbe.RequireCausal(part, heads);
        return _known[(bias, heads)] = part.Mask;
    }
}
