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
    /// before rotation, times the norm of the value: Expected Attention (arXiv 2510.00636). With
    /// <see cref="TokenEviction.WeighByValue"/> ‖W_O v‖ takes the place of that norm, with <see cref="TokenEviction.SecondStage"/> the
    /// first stage goes without.
    /// </summary>
    ExpectedAttention = 4,

    /// <summary>
    /// The most attention that a token gets while the model repeats the prompt: KVzip (arXiv 2505.23416). The prompt is read
    /// twice.
    /// </summary>
    Reconstruction = 5,
}
