namespace KvPrune.OnnxOps;

/// <summary>What ranks the tokens of a prompt, for each layer and KV head.</summary>
public enum TokenScore
{
    /// <summary>The newest tokens and the sinks stay, in every head the same: StreamingLLM (arXiv 2309.17453).</summary>
    Recency = 1,

    /// <summary>
    /// The attention of the prompt's last queries, averaged over the group, then the largest of
    /// <see cref="TokenEviction.PoolKernel"/> neighbours: SnapKV (arXiv 2404.14469).
    /// </summary>
    WindowAttention = 2,

    /// <summary>
    /// The attention of all queries so far, divided by how many of them could see the token: H2O (arXiv 2306.14048).
    /// </summary>
    AccumulatedAttention = 3,

    /// <summary>
    /// The attention that queries at the next positions would give, by the mean and covariance of the prompt's queries
    /// before rotation: Expected Attention (arXiv 2510.00636).
    /// </summary>
    ExpectedAttention = 4,

    /// <summary>
    /// The most attention that a token gets while the model repeats the prompt: KVzip (arXiv 2505.23416). The prompt is read
    /// twice.
    /// </summary>
    Reconstruction = 5,
}
