using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.AttributeProto.Types;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>Names of the operator that the native library registers.</summary>
internal static class PrunedAttention
{
    public const string Domain = "kvprune";
    public const string OpType = "PrunedGroupQueryAttention";
    public const int Version = 1;
    public const string CacheManagerAttribute = "cache_manager";

    public static AttributeProto Int(string name, long value) =>
        new() { Name = name, I = value, Type = AttributeType.Int };

    public static AttributeProto Ints(string name, params long[] values) =>
        new() { Name = name, Ints = { values }, Type = AttributeType.Ints };

    public static AttributeProto Float(string name, float value) =>
        new() { Name = name, F = value, Type = AttributeType.Float };
}
