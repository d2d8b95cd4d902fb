using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Tests.Graphs;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Tests.Rewriting;

public class RefusedModelTests
{
    private static readonly AttentionShape Shape = new(4, 2, 16, Rotary: true, Layers: 2);

    [Theory]
    [InlineData("softcap", -1f, "its attribute softcap = -1 has no counterpart")]
    [InlineData("softcap", 1e-31f, "its attribute softcap = 1E-31 has no counterpart")]
    [InlineData("softcap", float.NaN, "its attribute softcap = NaN has no counterpart")]
    [InlineData("smooth_softmax", 2, "its attribute smooth_softmax = 2 has no counterpart")]
    [InlineData("local_window_size", 0, "its attribute local_window_size = 0 is neither")]
    [InlineData("local_window_size", -2, "its attribute local_window_size = -2 is neither")]
    [InlineData("local_window_size", 1L << 31, "its attribute local_window_size = 2147483648 is neither")]
    [InlineData("do_rotary", 2, "its attribute do_rotary = 2 has no counterpart")]
    [InlineData("rotary_interleaved", 2, "its attribute rotary_interleaved = 2 has no counterpart")]
    [InlineData("sliding_window_cache", 2, "its attribute sliding_window_cache = 2 has no counterpart")]
    [InlineData("sliding_window_cache", 1, "its attribute sliding_window_cache = 1 needs a local_window_size")]
    [InlineData("causal", 0, "its attribute causal = 0 has no counterpart")]
    [InlineData("qk_output", 1, "its attribute qk_output = 1 has no counterpart")]
    [InlineData("k_quant_type", "PER_TENSOR", "its attribute k_quant_type = PER_TENSOR has no counterpart")]
    [InlineData("v_quant_type", "PER_CHANNEL", "its attribute v_quant_type = PER_CHANNEL has no counterpart")]
    [InlineData("kv_cache_bit_width", 8, "its attribute kv_cache_bit_width = 8 has no counterpart")]
    [InlineData("num_heads", 3, "num_heads 3 is no multiple of kv_num_heads 2")]
    [InlineData("num_heads", 0, "its attribute num_heads is missing or 0")]
    [InlineData("kv_num_heads", -1, "its attribute kv_num_heads is -1")]
    [InlineData("kv_num_heads", "two", "its attribute kv_num_heads has type String in place of Int")]
    [InlineData("invented_by_a_later_version", 1, "its attribute 'invented_by_a_later_version' is unknown")]
    public void An_attribute_without_counterpart_is_named_with_its_node(string name, object value, string reason)
    {
        var model = DecoderGraph.Build(Shape);
        var node = Attention(model, 1);
        foreach (var old in node.Attribute.Where(a => a.Name == name).ToList())
            node.Attribute.Remove(old);
        node.Attribute.Add(GraphBuilder.Attribute(name, value));

        Refused(model, node.Name, reason);
    }

    [Theory]
    [InlineData(9, "its position_ids 'q.0' come from 'q.0', not from a graph input")]
    [InlineData(10, "its input attention_bias ('q.0') has no counterpart")]
    [InlineData(12, "its input k_scale ('q.0') has no counterpart")]
    [InlineData(13, "its input v_scale ('q.0') has no counterpart")]
    [InlineData(14, "it has only one of q_norm_weight and k_norm_weight")]
    [InlineData(15, "it has only one of q_norm_weight and k_norm_weight")]
    [InlineData(16, "its input number 16 ('q.0') has no counterpart")]
    public void An_input_without_counterpart_is_named_with_its_node(int input, string reason)
    {
        var model = DecoderGraph.Build(Shape);
        var node = Attention(model, 0);
        while (node.Input.Count < input)
            node.Input.Add("");
        node.Input.Add("q.0");

        Refused(model, node.Name, reason);
    }

    [Theory]
    [InlineData(1, "it has only one of key and value")]
    [InlineData(2, "it has only one of key and value")]
    [InlineData(3, "its input past_key is missing")]
    [InlineData(4, "its input past_value is missing")]
    [InlineData(5, "its input seqlens_k or total_sequence_length is missing")]
    [InlineData(6, "its input seqlens_k or total_sequence_length is missing")]
    [InlineData(7, "do_rotary is set without cos_cache and sin_cache")]
    public void A_missing_input_is_named_with_its_node(int input, string reason)
    {
        var model = DecoderGraph.Build(Shape);
        var node = Attention(model, 0);
        node.Input[input] = "";

        Refused(model, node.Name, reason);
    }

    [Fact]
    public void Positions_that_hosts_do_not_count_are_refused()
    {
        void Broken(Action<ModelProto> change, string reason)
        {
            var model = DecoderGraph.Build(Shape, style: DecoderStyle.PositionIds);
            change(model);
            Refused(model, "/attention.0/", reason);
        }

        void From(ModelProto model, string value) => Attention(model, 0).Input[9] = value;
        Broken(model => From(model, "attention_mask"), "come from 'attention_mask', not from a graph input 'position_ids'");
        Broken(model => From(model, "past_key_values.0.key"), "come from 'past_key_values.0.key'");
        Broken(model => Input(model, "position_ids").ElemType = (int)DataType.Int32, "'position_ids' is not declared as int64");
        Broken(model => Input(model, "position_ids").Shape.Dim.Insert(0, new() { DimValue = 3 }), "[batch, tokens]");
        Broken(model => Attention(model, 0).Input[6] = "position_ids", "is also what its 'position_ids' comes from");
    }

    [Fact]
    public void Leaving_empty_inputs_at_the_end_is_fine()
    {
        var model = DecoderGraph.Build(Shape);
        Attention(model, 0).Input.Add(["", "", ""]);

        Assert.Equal(2, ModelFolder.Load(model).Shape(1).Layers);
    }

    [Fact]
    public void Other_attention_is_refused()
    {
        var model = DecoderGraph.Build(Shape);
        Attention(model, 1).OpType = "SparseAttention";

        Refused(model, "SparseAttention", "/attention.1/GroupQueryAttention");
    }

    [Fact]
    public void A_graph_without_attention_is_refused()
    {
        var model = DecoderGraph.Build(Shape);
        foreach (var node in model.Graph.Node.Where(node => node.OpType == "GroupQueryAttention"))
            node.OpType = "Something";

        Refused(model, "no GroupQueryAttention");
    }

    [Fact]
    public void A_rewritten_model_is_refused()
    {
        Refused(ModelFolder.Rewrite(DecoderGraph.Build(Shape)), "rewritten before");
    }

    [Theory]
    [InlineData((int)DataType.Bfloat16, "Bfloat16")]
    [InlineData((int)DataType.Uint8, "Uint8")]
    [InlineData((int)DataType.Int8, "Int8")]
    [InlineData(17, "17")]
    public void Another_element_type_is_refused(int type, string name)
    {
        var model = DecoderGraph.Build(Shape);
        Input(model, "past_key_values.0.key").ElemType = type;

        Refused(model, name, "past_key_values.0.key", "float32");
    }

    [Fact]
    public void Nodes_that_disagree_are_refused()
    {
        var model = DecoderGraph.Build(Shape);
        Attention(model, 1).Attribute.Single(a => a.Name == "num_heads").I = 2;

        Refused(model, "/attention.1/", "/attention.0/", "agree");
    }

    [Theory]
    [InlineData(4)]
    [InlineData(33)]
    [InlineData(100)]
    [InlineData(264)]
    [InlineData(512)]
    public void A_head_size_that_the_cache_does_not_take_is_named_with_its_node(int size)
    {
        var reason = $"its heads have {size} channels; only multiples of 8 up to 256 are supported";
        Refused(DecoderGraph.Build(Shape with { HeadSize = size, RotarySize = 2, KvHeads = 4 }, style: DecoderStyle.MultiHead), "/attention.0/", reason);
        Refused(DecoderGraph.Build(Shape with { HeadSize = size, RotarySize = 2 }), "/attention.0/", reason);
    }

    [Theory]
    [InlineData(8)]
    [InlineData(40)]
    [InlineData(72)]
    public void A_head_size_that_cannot_be_rotated_is_named_with_its_node(int size)
    {
        var shape = Shape with { HeadSize = size, RotarySize = 8 };
        Refused(DecoderGraph.Build(shape), "/attention.0/", $"its heads have {size} channels; with do_rotary, only multiples of 16 are supported");
        Assert.Equal(size, ModelFolder.Load(DecoderGraph.Build(shape with { Rotary = false })).Shape(1).HeadSize);
    }

    [Fact]
    public void Declared_shapes_must_fit_the_node()
    {
        var heads = DecoderGraph.Build(Shape);
        Input(heads, "past_key_values.0.value").Shape.Dim[1].DimValue = 5;
        Refused(heads, "past_key_values.0.value", "5 KV heads");

        var size = DecoderGraph.Build(Shape);
        Input(size, "past_key_values.0.key").Shape.Dim[3].DimParam = "head_size";
        Refused(size, "past_key_values.0.key", "head_size");

        var width = DecoderGraph.Build(Shape);
        width.Graph.ValueInfo.Add(GraphBuilder.Value("q.0", DataType.Float, "batch_size", "sequence_length", 60));
        Refused(width, "/attention.0/", "60 wide");
    }

    [Fact]
    public void A_cache_that_others_read_is_refused()
    {
        var past = DecoderGraph.Build(Shape);
        past.Graph.Node.Insert(0, Peek("past_key_values.0.key"));
        past.Graph.Output.Add(GraphBuilder.Value("peeked", DataType.Int64, 4));
        Refused(past, "peek", "past_key_values.0.key");

        var present = DecoderGraph.Build(Shape);
        present.Graph.Node.Add(Peek("present.1.value"));
        present.Graph.Output.Add(GraphBuilder.Value("peeked", DataType.Int64, 4));
        Refused(present, "peek", "present.1.value");

        static NodeProto Peek(string value) =>
            new() { Name = "peek", OpType = "Shape", Input = { value }, Output = { "peeked" } };
    }

    [Fact]
    public void Two_nodes_cannot_share_a_cache_or_a_layer()
    {
        var shared = DecoderGraph.Build(Shape);
        Attention(shared, 1).Input[3] = "past_key_values.0.key";
        Refused(shared, "/attention.1/", "/attention.0/", "past_key_values.0.key");

        var gap = DecoderGraph.Build(Shape);
        Attention(gap, 1).Input[3] = "past_key_values.5.key";
        Input(gap, "past_key_values.1.key", "past_key_values.5.key");
        Refused(gap, "past_key_values.5.key", "layer 1");
    }

    [Fact]
    public void Attention_inside_a_body_is_refused()
    {
        var model = DecoderGraph.Build(Shape);
        var body = new GraphProto { Node = { Attention(model, 1).Clone() } };
        var branch = GraphBuilder.Attribute("then_branch", body);
        model.Graph.Node.Add(new NodeProto { Name = "choice", OpType = "If", Attribute = { branch } });

        Refused(model, "/attention.1/", "body");
    }

    [Fact]
    public void The_name_of_the_new_input_must_be_free()
    {
        var model = DecoderGraph.Build(Shape);
        model.Graph.Input.Add(GraphBuilder.Value(KvPruneOps.SequenceHandlesInput, DataType.Int64, 1));

        Refused(model, KvPruneOps.SequenceHandlesInput);
    }

    private static void Refused(ModelProto model, params string[] named)
    {
        using var folder = new ModelFolder(model);
        var refusal = Assert.Throws<ModelRewriteException>(() => GroupQueryAttentionRewriter.Load(folder.ModelPath));
        Assert.All([folder.ModelPath, .. named], text => Assert.Contains(text, refusal.Message, StringComparison.Ordinal));
    }

    private static NodeProto Attention(ModelProto model, int index) =>
        model.Graph.Node.Where(node => node.OpType == "GroupQueryAttention").ElementAt(index);

    private static TypeProto.Types.Tensor Input(ModelProto model, string name, string? rename = null)
    {
        var input = model.Graph.Input.Single(input => input.Name == name);
        input.Name = rename ?? name;
        return input.Type.TensorType;
    }
}
