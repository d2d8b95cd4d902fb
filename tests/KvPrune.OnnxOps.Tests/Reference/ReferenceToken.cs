namespace KvPrune.OnnxOps.Tests.Reference;

/// <summary>A token's rows in one KV head.</summary>
internal sealed record ReferenceToken(ReferenceRow Key, ReferenceRow Value, bool IsKept = true)
{
    /// <summary>Without its rows.</summary>
    public ReferenceToken Evicted()
    {
        var none = ReferenceRow.Dense(new double[Key.Source.Length], KvStorage.Float32);
        return new(none, none, IsKept: false);
    }
}
