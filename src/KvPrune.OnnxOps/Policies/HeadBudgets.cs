namespace KvPrune.OnnxOps;

/// <summary>How the tokens that a prompt may keep are divided among KV heads.</summary>
public enum HeadBudgets
{
    /// <summary>Every head of a layer keeps as many.</summary>
    Uniform = 0,

    /// <summary>
    /// A layer's best scores over all its heads stay, but each head keeps at least <see cref="TokenEviction.HeadFloor"/> of the
    /// even share: AdaKV (arXiv 2407.11550).
    /// </summary>
    Adaptive = 1,

    /// <summary>The best scores over all layers and heads stay: KVzip's threshold (arXiv 2505.23416).</summary>
    Global = 2,
}
