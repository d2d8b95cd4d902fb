namespace KvPrune.OnnxOps;

/// <summary>
/// Which tokens of a prompt are evicted at its end, and with <see cref="WhileDecoding"/> of prompt and answer from then on.
/// Kept tokens keep their positions. How many a head keeps is rounded to a multiple of 64; the policy's recent window stays
/// and counts as kept.
/// </summary>
public sealed record TokenEviction
{
    /// <summary>What ranks the tokens.</summary>
    public TokenScore Score { get; init; } = TokenScore.WindowAttention;

    /// <summary>Fraction in [0, 1) of the prompt's tokens that is evicted, over all heads.</summary>
    public double Sparsity { get; init; }

    /// <summary>
    /// The most tokens that a head keeps, on average over heads and layers, at least 1; null: as <see cref="Sparsity"/> says.
    /// A shorter prompt keeps all.
    /// </summary>
    public int? TokenBudget { get; init; }

    /// <summary>The first tokens of a sequence, which are never evicted while the budget holds them.</summary>
    public int SinkTokens { get; init; } = 4;

    /// <summary>
    /// An odd number of neighbouring tokens, the largest of whose scores counts for the one in their middle, with
    /// <see cref="TokenScore.WindowAttention"/>. 1: each token's own.
    /// </summary>
    public int PoolKernel { get; init; } = 7;

    /// <summary>
    /// β of PyramidKV (arXiv 2406.02069), at least 1: the last layer keeps 1/β of the average number of tokens, the first as many
    /// more, those between evenly spaced. The paper uses 20. 0: every layer keeps as many.
    /// </summary>
    public double PyramidSlope { get; init; }

    /// <summary>How the budget is divided among heads.</summary>
    public HeadBudgets Heads { get; init; }

    /// <summary>
    /// The fraction in [0, 1] of the even share that every head keeps with <see cref="HeadBudgets.Adaptive"/>.
    /// </summary>
    public double HeadFloor { get; init; } = 0.2;

    /// <summary>
    /// Whether scores are multiplied by ‖W_O v‖, the norm of what the token's value adds to the layer's output. Needs the
    /// model's output projection.
    /// </summary>
    public bool WeighByValue { get; init; }

    /// <summary>
    /// Whether half of the budget goes to the best scores and the rest to the best products of score and ‖W_O v‖ among the
    /// others: CriticalKV (arXiv 2502.03805), with the Euclidean norm in place of its L1 norm. Needs the model's output
    /// projection.
    /// </summary>
    public bool SecondStage { get; init; }

    /// <summary>
    /// Whether tokens are evicted while others are generated, too: StreamingLLM (arXiv 2309.17453) with
    /// <see cref="TokenScore.Recency"/>, H2O (arXiv 2306.14048) with <see cref="TokenScore.AccumulatedAttention"/>, to which
    /// the queries of generated tokens then add; other scores know the prompt's queries only. Whenever 64 generated tokens
    /// leave the recent window, each head gives up none, the 64 that rank lowest or as many times 64 as the budget at that
    /// length takes. Rows of a prompt that lost channels, and those of other prompts or of answers, only rank among themselves: the
    /// 64 go whose scores have the lowest sum. Where tokens share scales (4-bit K of which no elements are removed) or their
    /// elements compete (<see cref="SparsityPattern.PerChannel"/>), 64 that are stored together go together. H2O keeps 12 bytes
    /// of scores for every row of a head, and a step multiplies queries and keys twice.
    /// </summary>
    public bool WhileDecoding { get; init; }
}
