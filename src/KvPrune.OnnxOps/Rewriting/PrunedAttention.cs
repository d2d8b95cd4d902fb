namespace KvPrune.OnnxOps.Rewriting;

/// <summary>Names of the operator that the native library registers.</summary>
internal static class PrunedAttention
{
    public const string Domain = "kvprune";
    public const string OpType = "PrunedGroupQueryAttention";
    public const int Version = 1;
    public const string CacheManagerAttribute = "cache_manager";
}
