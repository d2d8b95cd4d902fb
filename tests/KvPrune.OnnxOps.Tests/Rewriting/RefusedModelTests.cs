using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Tests.Graphs;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Tests.Rewriting;

public class RefusedModelTests
{
    private static readonly AttentionShape Shape = new(4, 2, 16, Rotary: true, Layers: 2);

    [Theory]
    [InlineData("softcap", -1f)]
    [InlineData("softcap", float.NaN)]
    [InlineData("smooth_softmax", 2)]
    [InlineData("local_window_size", 0)]
    [InlineData("local_window_size", -2)]
    [InlineData("local_window_size", 1L << 31)]
    [InlineData("rotary_interleaved", 2)]
    [InlineData("sliding_window_cache", 2)]
    [InlineData("causal", 0)]
    [InlineData("qk_output", 1)]
    [InlineData("k_quant_type", "PER_TENSOR")]
    [InlineData("v_quant_type", "PER_CHANNEL")]
    [InlineData("kv_cache_bit_width", 8)]
    [InlineData("num_heads", 3)]
    [InlineData("num_heads", 0)]
    [InlineData("kv_num_heads", -1)]
    [InlineData("kv_num_heads", "two")]
    [InlineData("invented_by_a_later_version", 1)]
    public void An_attribute_without_counterpart_is_named_with_its_node(string name, object value)
    {
        var model = DecoderGraph.Build(Shape);
        var node = Attention(model, 1);
        foreach (var old in node.Attribute.Where(a => a.Name == name).ToList())
            node.Attribute.Remove(old);
        node.Attribute.Add(GraphBuilder.Attribute(name, value));

        Refused(model, node.Name, name);
    }

    [Theory]
    [InlineData(9, "position_ids")]
    [InlineData(10, "attention_bias")]
    [InlineData(12, "k_scale")]
    [InlineData(13, "v_scale")]
    [InlineData(14, "q_norm_weight")]
    [InlineData(15, "k_norm_weight")]
    [InlineData(16, "number 16")]
    public void An_input_without_counterpart_is_named_with_its_node(int input, string role)
    {
        var model = DecoderGraph.Build(Shape);
        var node = Attention(model, 0);
        while (node.Input.Count < input)
            node.Input.Add("");
        node.Input.Add("q.0");

        Refused(model, node.Name, role);
    }

    [Theory]
    [InlineData(1, "key")]
    [InlineData(2, "value")]
    [InlineData(3, "past_key")]
    [InlineData(4, "past_value")]
    [InlineData(5, "seqlens_k")]
    [InlineData(6, "total_sequence_length")]
    [InlineData(7, "cos_cache")]
    public void A_missing_input_is_named_with_its_node(int input, string role)
    {
        var model = DecoderGraph.Build(Shape);
        var node = Attention(model, 0);
        node.Input[input] = "";

        Refused(model, node.Name, role);
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

    [Theory]
    [InlineData(1, "key")]
    [InlineData(2, "value")]
    [InlineData(5, "no attention_bias")]
    [InlineData(6, "past_key")]
    public void A_missing_input_of_multi_head_attention_is_named(int input, string role)
    {
        var model = MultiHead();
        MultiHead(model).Input[input] = "";

        Refused(model, "/attention.0/MultiHeadAttention", role);
    }

    [Theory]
    [InlineData(4, "key_padding_mask")]
    [InlineData(8, "past_sequence_length")]
    [InlineData(9, "cache_indirection")]
    public void An_input_of_multi_head_attention_without_counterpart_is_named(int input, string role)
    {
        var model = MultiHead();
        var node = MultiHead(model);
        while (node.Input.Count <= input)
            node.Input.Add("");
        node.Input[input] = "attention_mask";

        Refused(model, "/attention.0/MultiHeadAttention", role);
    }

    [Fact]
    public void An_attention_bias_that_is_not_the_causal_mask_is_refused()
    {
        void Broken(Action<GraphProto> change, string reason)
        {
            var model = MultiHead();
            change(model.Graph);
            Refused(model, "/attention.0/MultiHeadAttention", "causal_bias", reason);
        }

        static NodeProto Maker(GraphProto graph, string value) => graph.Node.Single(node => node.Output.Contains(value));

        // Not the token itself.
        Broken(graph => Maker(graph, "is_past").OpType = "Less", "token 0");
        // Later tokens too, for all that the shape is right.
        Broken(graph => Maker(graph, "is_past").OpType = "GreaterOrEqual", "token");
        // Not enough to hide anything.
        Broken(graph => graph.Initializer.Single(tensor => tensor.Name == "hidden").FloatData[0] = -10, "-10");
        // Old tokens are hidden.
        Broken(
            graph =>
            {
                var window = new GraphBuilder();
                window.Int64s("window", [60_000]);
                window.Node("Range", "keys", ["zero", "all_tokens", "one"]);
                window.Node("Less", "is_old", ["keys", window.Node("Sub", "window_start", ["all_tokens", "window"])]);
                window.Node("Where", "old", ["is_old", "hidden", "nothing"]);
                window.Node("Add", "in_window", ["one_head", "old"]);
                var tile = Maker(graph, "causal_bias");
                tile.Input[0] = "in_window";
                var at = graph.Node.IndexOf(tile);
                foreach (var node in window.Model.Graph.Node)
                    graph.Node.Insert(at++, node);
                graph.Initializer.Add(window.Model.Graph.Initializer);
            },
            "token 70000");
        // Its numbers come from elsewhere.
        Broken(graph => Maker(graph, "is_valid").Input[0] = "elsewhere", "elsewhere");
        Broken(graph => Maker(graph, "is_past").Input[1] = "position_ids", "2 inputs");
        Broken(
            graph => graph.Initializer.Single(tensor => tensor.Name == "hidden").DataLocation = DataLocation.External, "external");
        // It cannot run.
        Broken(graph => Maker(graph, "one_head").OpType = "NoSuchOperator", "NoSuchOperator");
    }

    private static ModelProto MultiHead() =>
        DecoderGraph.Build(new AttentionShape(2, 2, 16, Rotary: true), style: DecoderStyle.MultiHead);

    private static NodeProto MultiHead(ModelProto model) =>
        model.Graph.Node.Single(node => node.OpType == "MultiHeadAttention");

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
