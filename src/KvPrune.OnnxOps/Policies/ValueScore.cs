namespace KvPrune.OnnxOps;

/// <summary>What ranks an element v_tj of V when elements are removed.</summary>
public enum ValueScore
{
    /// <summary>|v_tj|.</summary>
    Magnitude = 0,

    /// <summary>
    /// |v_tj| · Σ over the group's query heads and the observed queries of the attention α_it to the token: MUSTAFAR's
    /// output-aware V (arXiv 2505.22913). Needs <see cref="SparsityPattern.PerChannel"/>: within one row it is a constant.
    /// Rows of generated tokens rank by magnitude.
    /// </summary>
    Attention = 1,

    /// <summary>
    /// |v_tj| · √(Σ over the group's query heads of the squared norm of column j of the head's part of the output
    /// projection), which needs the model's weights and <see cref="SparsityPattern.PerToken"/>: within one channel it is a
    /// constant. Does not look at queries.
    /// </summary>
    OutputWeight = 2,
}
