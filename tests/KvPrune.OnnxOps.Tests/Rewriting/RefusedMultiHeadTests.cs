using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Tests.Graphs;
using Microsoft.ML.OnnxRuntime;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Tests.Rewriting;

public class RefusedMultiHeadTests
{
    private static readonly AttentionShape Shape = new(2, 2, 16, Rotary: true);

    [Theory]
    [InlineData(0, "it has no query of its own")]
    [InlineData(1, "it has no key of its own")]
    [InlineData(2, "it has no value of its own")]
    [InlineData(5, "it has no attention_bias")]
    [InlineData(6, "its input past_key is missing")]
    [InlineData(7, "its input past_value is missing")]
    public void A_missing_input_is_named(int input, string reason)
    {
        var model = Model();
        Attention(model).Input[input] = "";

        Refused(model, reason);
    }

    [Theory]
    [InlineData(4, "its input key_padding_mask ('attention_mask') has no counterpart")]
    [InlineData(8, "its input past_sequence_length ('attention_mask') has no counterpart")]
    [InlineData(9, "its input cache_indirection ('attention_mask') has no counterpart")]
    public void An_input_without_counterpart_is_named(int input, string reason)
    {
        var model = Model();
        var node = Attention(model);
        while (node.Input.Count <= input)
            node.Input.Add("");
        node.Input[input] = "attention_mask";

        Refused(model, reason);
    }

    [Fact]
    public void Both_ways_of_being_causal_are_accepted()
    {
        var model = Model();
        Attention(model).Attribute.Single(a => a.Name == "unidirectional").I = 1;
        Assert.Equal(1, ModelFolder.Load(model).Shape(1).Layers);

        Attention(model).Attribute.Single(a => a.Name == "unidirectional").I = 2;
        Refused(model, "its attribute unidirectional = 2 has no counterpart");
    }

    [Theory]
    [InlineData(95L)]
    [InlineData(1L, 96L)]
    [InlineData(97L)]
    public void A_bias_of_another_width_is_refused(params long[] dims)
    {
        var right = Model();
        Attention(right).Input[3] = "qkv";
        right.Graph.Initializer.Add(new TensorProto { Name = "qkv", DataType = (int)DataType.Float, Dims = { 96 } });
        Assert.Equal(1, ModelFolder.Load(right).Shape(1).Layers);

        var model = Model();
        Attention(model).Input[3] = "qkv";
        var tensor = new TensorProto { Name = "qkv", DataType = (int)DataType.Float };
        tensor.Dims.Add(dims);
        model.Graph.Initializer.Add(tensor);
        Refused(model, $"its bias is [{string.Join(", ", dims)}]", "[96]");
    }

    [Fact]
    public void Nodes_of_two_attention_masks_are_refused()
    {
        var model = DecoderGraph.Build(Shape with { Layers = 2 }, style: DecoderStyle.MultiHead);
        var graph = model.Graph;
        graph.Input.Add(GraphBuilder.Value("other_mask", DataType.Int64, "batch_size", "total_sequence_length"));
        var copies = graph.Node.TakeWhile(node => node.OpType != "MultiHeadAttention").Select(node => node.Clone()).ToList();
        var made = copies.SelectMany(node => node.Output).ToHashSet();
        foreach (var node in copies)
        {
            for (var i = 0; i < node.Input.Count; i++)
                node.Input[i] = made.Contains(node.Input[i]) ? node.Input[i] + "/2" : node.Input[i] == "attention_mask" ? "other_mask" : node.Input[i];
            node.Output[0] += "/2";
            node.Name += "/2";
        }

        foreach (var node in copies.AsEnumerable().Reverse())
            graph.Node.Insert(0, node);
        graph.Node.Last(node => node.OpType == "MultiHeadAttention").Input[5] = "causal_bias/2";

        Refused(model, "/attention.1/MultiHeadAttention' (MultiHeadAttention) is masked by 'other_mask'", "/attention.0/MultiHeadAttention' (MultiHeadAttention) by 'attention_mask'");
    }

    [Fact]
    public void A_mask_cut_from_a_triangle_over_all_tokens_is_the_causal_mask()
    {
        var model = Model();
        AddWhole(model.Graph);

        Assert.Equal(1, ModelFolder.Load(model).Shape(1).Layers);
    }

    [Fact]
    public void A_bias_that_is_not_the_causal_mask_is_refused()
    {
        // Not the token itself.
        Broken(graph => Maker(graph, "is_past").OpType = "Less", "token 0 has");
        // Later tokens too, for all that the shape is right.
        Broken(graph => Maker(graph, "is_past").OpType = "GreaterOrEqual", "token 0 has 0 for key 1");
        // Not enough to hide anything.
        Broken(graph => graph.Initializer.Single(tensor => tensor.Name == "hidden").FloatData[0] = -10, "has -10 for key");
        // Its numbers come from elsewhere.
        Broken(graph => Maker(graph, "is_valid").Input[0] = "elsewhere", "nothing makes 'elsewhere'");
        Broken(graph => Maker(graph, "is_past").Input[1] = "position_ids", "it reads the elements of 2 inputs");
        Broken(
            graph => graph.Initializer.Single(tensor => tensor.Name == "hidden").DataLocation = DataLocation.External,
            "it depends on the external tensor 'hidden'");
    }

    [Fact]
    public void Heads_are_all_or_one()
    {
        foreach (var heads in new[] { 0, 3, 4_000 })
            Broken(graph => Tiles(graph)[1] = heads, $"its shape is [1, {heads}, 1, 1]");
        var model = Model();
        Tiles(model.Graph)[1] = 1;
        Assert.Equal(1, ModelFolder.Load(model).Shape(1).Layers);
    }

    [Theory]
    [InlineData(30, "for key 0")]
    [InlineData(700, "for key 0")]
    [InlineData(4_096, "for key 0")]
    [InlineData(4_097, "it reads the number 4097")]
    [InlineData(60_000, "it reads the number 60000")]
    public void A_window_is_found_or_its_number_is_refused(long window, string reason)
    {
        Broken(graph => AddWindow(graph, window), reason);
        Broken(
            graph =>
            {
                AddWindow(graph, window);
                var tensor = graph.Initializer.Single(tensor => tensor.Name == "window");
                tensor.Int64Data.Clear();
                tensor.RawData = Google.Protobuf.ByteString.CopyFrom(BitConverter.GetBytes(window));
            },
            reason);
    }

    [Fact]
    public void A_window_among_new_tokens_only_is_found()
    {
        Broken(
            graph =>
            {
                var window = new GraphBuilder();
                window.Int64s("window", [700]);
                window.Node("Sub", "distance", ["rows", "columns"]);
                window.Node("Greater", "is_old", ["distance", "window"]);
                window.Node("Where", "in_window", ["is_old", "hidden", "triangle"]);
                Insert(graph, Maker(graph, "triangle/4d"), window);
                Maker(graph, "triangle/4d").Input[0] = "in_window";
            },
            "token 701 has");
    }

    [Fact]
    public void What_would_take_much_memory_is_not_run()
    {
        // Tokens to the power of four; the mask itself is right.
        Broken(
            graph =>
            {
                var large = new GraphBuilder();
                large.Node("Concat", "large_dims", ["all_tokens/1d", "all_tokens/1d", "all_tokens/1d", "all_tokens/1d"], ("axis", 0));
                large.Node("Expand", "large", ["nothing", "large_dims"]);
                large.Node("ReduceMax", "small", ["large"], ("keepdims", 0));
                large.Node("Add", "harmless", ["one_head", "small"]);
                Insert(graph, Maker(graph, "causal_bias"), large);
                Maker(graph, "causal_bias").Input[0] = "harmless";
            },
            "it would make values of more than 67108864 elements");
    }

    [Fact]
    public void What_cannot_run_is_refused_with_the_reason()
    {
        var refusal = Broken(graph => Maker(graph, "one_head").OpType = "NoSuchOperator", "it cannot be computed by itself", "NoSuchOperator");
        Assert.IsType<OnnxRuntimeException>(refusal.GetBaseException());
        Broken(graph => Tiles(graph)[0] = -5, "it cannot be computed by itself");
    }

    private static ModelRewriteException Broken(Action<GraphProto> change, params string[] reason)
    {
        var model = Model();
        change(model.Graph);
        return Refused(model, ["attention_bias 'causal_bias' is not known to be the causal mask", .. reason]);
    }

    // Old keys are hidden.
    private static void AddWindow(GraphProto graph, long size)
    {
        var window = new GraphBuilder();
        window.Int64s("window", [size]);
        window.Node("Range", "keys", ["zero", "all_tokens", "one"]);
        window.Node("Less", "is_old", ["keys", window.Node("Sub", "window_start", ["all_tokens", "window"])]);
        window.Node("Where", "old", ["is_old", "hidden", "nothing"]);
        window.Node("Add", "in_window", ["one_head", "old"]);
        Insert(graph, Maker(graph, "causal_bias"), window);
        Maker(graph, "causal_bias").Input[0] = "in_window";
    }

    // [T, T], of which the last S rows are the mask; a slice to the end as exporters write it.
    private static void AddWhole(GraphProto graph)
    {
        var whole = new GraphBuilder();
        whole.Int64s("end", [long.MaxValue], 1);
        whole.Node("Range", "keys", ["zero", "all_tokens", "one"]);
        whole.Node("Unsqueeze", "queries", ["keys", "second"]);
        whole.Node("LessOrEqual", "is_seen", ["keys", "queries"]);
        whole.Node("Where", "whole", ["is_seen", "nothing", "hidden"]);
        whole.Node("Unsqueeze", "start", ["past_key_values.0.key/two", "first"]);
        whole.Node("Slice", "cut", ["whole", "start", "end", "first"]);
        Insert(graph, Maker(graph, "triangle/4d"), whole);
        Maker(graph, "triangle/4d").Input[0] = "cut";
    }

    private static void Insert(GraphProto graph, NodeProto before, GraphBuilder part)
    {
        var at = graph.Node.IndexOf(before);
        foreach (var node in part.Model.Graph.Node)
            graph.Node.Insert(at++, node);
        graph.Initializer.Add(part.Model.Graph.Initializer);
    }

    private static Google.Protobuf.Collections.RepeatedField<long> Tiles(GraphProto graph) => graph.Initializer.Single(tensor => tensor.Name == "tiles").Int64Data;

    private static NodeProto Maker(GraphProto graph, string value) => graph.Node.Single(node => node.Output.Contains(value));

    private static ModelProto Model() => DecoderGraph.Build(Shape, style: DecoderStyle.MultiHead);

    private static NodeProto Attention(ModelProto model) => model.Graph.Node.Single(node => node.OpType == "MultiHeadAttention");

    private static ModelRewriteException Refused(ModelProto model, params string[] named)
    {
        using var folder = new ModelFolder(model);
        var refusal = Assert.Throws<ModelRewriteException>(() => GroupQueryAttentionRewriter.Load(folder.ModelPath));
        Assert.All(
            [folder.ModelPath, "/MultiHeadAttention", .. named], text => Assert.Contains(text, refusal.Message, StringComparison.Ordinal));
        return refusal;
    }
}
