using KvPrune.OnnxOps.Onnx;
using static KvPrune.OnnxOps.Onnx.AttributeProto.Types;

namespace KvPrune.OnnxOps.Rewriting;

/// <summary>Reads a node's attributes by name and knows at the end which ones nobody asked for.</summary>
internal sealed class AttributeReader(NodeProto node)
{
    private readonly HashSet<string> _asked = [];

    public long Int(string name, long absent) =>
        Find(name, AttributeType.Int) is { } attribute ? attribute.I : absent;

    public float Float(string name, float absent) =>
        Find(name, AttributeType.Float) is { } attribute ? attribute.F : absent;

    public int RequirePositive(string name)
    {
        var value = Int(name, 0);
        return value is > 0 and <= int.MaxValue
            ? (int)value
            : throw Refused($"its attribute {name} is {(value == 0 ? "missing or 0" : value)}");
    }

    public void RefuseUnless(string name, params ReadOnlySpan<long> accepted)
    {
        if (Find(name, AttributeType.Int) is { } attribute && !accepted.Contains(attribute.I))
            throw Refused($"its attribute {name} = {attribute.I} has no counterpart");
    }

    public void RefuseUnless(string name, float accepted)
    {
        if (Find(name, AttributeType.Float) is { } attribute && attribute.F != accepted)
            throw Refused($"its attribute {name} = {attribute.F} has no counterpart");
    }

    public void RefuseUnless(string name, string accepted)
    {
        if (Find(name, AttributeType.String) is { } attribute && attribute.S.ToStringUtf8() != accepted)
            throw Refused($"its attribute {name} = {attribute.S.ToStringUtf8()} has no counterpart");
    }

    public void RefuseOthers()
    {
        if (node.Attribute.FirstOrDefault(a => !_asked.Contains(a.Name)) is { } unknown)
            throw Refused($"its attribute '{unknown.Name}' is unknown");
    }

    private AttributeProto? Find(string name, AttributeType type)
    {
        _asked.Add(name);
        var attribute = node.Attribute.FirstOrDefault(a => a.Name == name);
        return attribute is null || attribute.Type == type
            ? attribute
            : throw Refused($"its attribute {name} has type {attribute.Type} in place of {type}");
    }

    private ModelRewriteException Refused(string reason) => new($"{node.Label()} cannot be translated: {reason}.");
}
