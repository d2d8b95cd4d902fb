namespace KvPrune.OnnxOps;

/// <summary>
/// What ranks an element k_tj of K when elements are removed. Rows of generated tokens always rank by magnitude. Scores by
/// queries need <see cref="SparsityPattern.PerToken"/>: within one channel they are a constant.
/// </summary>
public enum KeyScore
{
    /// <summary>|k_tj|.</summary>
    Magnitude = 0,

    /// <summary>
    /// |k_tj| · Σ over the group's query heads of the mean over the observed queries of |q_j|: MUSTAFAR's output-aware K
    /// (arXiv 2505.22913).
    /// </summary>
    QueryMagnitude = 1,

    /// <summary>|k_tj| · √ of the mean over group and observed queries of q_j²: ThinK's factor for single elements.</summary>
    QueryRms = 2,
}
