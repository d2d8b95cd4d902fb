using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Tests.Graphs;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.OnnxOps.Tests.Ops;

/// <summary>The operator's attributes and inputs as other writers than the rewriter may give them.</summary>
public class NodeAttributeTests
{
    private static readonly AttentionShape Shape = new(4, 2, 32, Rotary: true);

    [Theory]
    [InlineData("smooth_softmax", -1)]
    [InlineData("do_rotary", 2)]
    public void A_switch_is_on_at_1_only(string name, long value)
    {
        var shape = Shape with { SmoothSoftmax = true };
        Assert.Equal(Outputs(shape, node => Attribute(node, name).I = 0), Outputs(shape, node => Attribute(node, name).I = value));
        Assert.NotEqual(Outputs(shape, node => Attribute(node, name).I = 0), Outputs(shape));
    }

    [Fact]
    public void A_head_sink_that_is_named_and_left_empty_is_none() =>
        Assert.Equal(Outputs(Shape), Outputs(Shape, node => node.Input.Add("")));

    [Theory]
    [InlineData("local_window_size", 0)]
    [InlineData("local_window_size", -2)]
    [InlineData("local_window_size", 1L << 31)]
    [InlineData("softcap", 1e-31f)]
    [InlineData("softcap", -1f)]
    [InlineData("softcap", float.NaN)]
    public void A_value_out_of_range_is_named_when_the_session_is_created(string name, object value)
    {
        var refusal = Assert.Throws<OnnxRuntimeException>(() => Outputs(Shape, node =>
        {
            if (value is float real)
                Attribute(node, name).F = real;
            else
                Attribute(node, name).I = Convert.ToInt64(value);
        }));

        Assert.Contains($"PrunedGroupQueryAttention: {name} is neither", refusal.Message, StringComparison.Ordinal);
    }

    private static AttributeProto Attribute(NodeProto node, string name) => node.Attribute.Single(a => a.Name == name);

    private static float[] Outputs(AttentionShape shape, Action<NodeProto>? change = null)
    {
        using var model = new PrunedAttentionModel(shape, change: change);
        using var sequence = model.Manager.CreateSequence(PruningPolicy.Exact);
        var rows = TokenRows.Random(shape, 30, seed: 7);
        return [.. model.Prompt(sequence, rows[..25]), .. model.Decode(sequence, rows[25..])];
    }
}
