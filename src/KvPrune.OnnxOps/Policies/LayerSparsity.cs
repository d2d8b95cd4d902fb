namespace KvPrune.OnnxOps;

/// <summary>The sparsities of one layer, in place of the policy's; null: the policy's own.</summary>
public sealed record LayerSparsity
{
    /// <summary>In place of <see cref="PruningPolicy.KeyChannelSparsity"/>.</summary>
    public double? KeyChannelSparsity { get; init; }

    /// <summary>In place of <see cref="PruningPolicy.ValueChannelSparsity"/>.</summary>
    public double? ValueChannelSparsity { get; init; }

    /// <summary>In place of <see cref="PruningPolicy.KeySparsity"/>.</summary>
    public double? KeySparsity { get; init; }

    /// <summary>In place of <see cref="PruningPolicy.ValueSparsity"/>.</summary>
    public double? ValueSparsity { get; init; }

    /// <summary>In place of <see cref="TokenEviction.Sparsity"/>.</summary>
    public double? TokenSparsity { get; init; }
}
