namespace KvPrune.OnnxOps;

/// <summary>Which entries of K or V compete with each other when elements are removed (MUSTAFAR, arXiv 2505.22913).</summary>
public enum SparsityPattern
{
    /// <summary>Those of one row: every token keeps as many of its channels.</summary>
    PerToken = 0,

    /// <summary>Those of one channel in 32 consecutive tokens: every channel keeps as many of them.</summary>
    PerChannel = 1,
}
