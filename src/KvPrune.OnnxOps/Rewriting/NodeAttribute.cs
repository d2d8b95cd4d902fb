using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.AttributeProto.Types;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>Makes attributes for nodes of any kind.</summary>
internal static class NodeAttribute
{
    public static AttributeProto Int(string name, long value) =>
        new() { Name = name, I = value, Type = AttributeType.Int };

    public static AttributeProto Ints(string name, params long[] values) =>
        new() { Name = name, Ints = { values }, Type = AttributeType.Ints };

    public static AttributeProto Float(string name, float value) =>
        new() { Name = name, F = value, Type = AttributeType.Float };
}
