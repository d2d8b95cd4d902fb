using Google.Protobuf;
using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Rewriting;
using KvPrune.OnnxOps.Tests.Graphs;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Tests.Rewriting;

public class RewrittenGraphTests
{
    private static readonly AttentionShape Shape = new(4, 2, 16, Rotary: true, Layers: 3);

    [Theory]
    [InlineData(LogitsPositions.Last)]
    [InlineData(LogitsPositions.All)]
    public void Past_and_present_are_gone_and_everything_left_is_resolved_and_used(LogitsPositions logits)
    {
        var graph = ModelFolder.Rewrite(DecoderGraph.Build(Shape), logits).Graph;

        Assert.Equal(["input_ids", "attention_mask", KvPruneOps.SequenceHandlesInput], graph.Input.Select(i => i.Name));
        Assert.Equal(["logits"], graph.Output.Select(o => o.Name));
        Assert.DoesNotContain(graph.Node, node => node.OpType == "GroupQueryAttention");
        var known = graph.Input.Select(i => i.Name).Concat(graph.Initializer.Select(t => t.Name)).ToHashSet();
        foreach (var node in graph.Node)
        {
            Assert.All(node.Input.Where(i => i.Length > 0), input => Assert.Contains(input, known));
            Assert.All(node.Output, output => Assert.True(known.Add(output)));
        }

        var read = graph.Node.SelectMany(node => node.Reads()).Concat(graph.Output.Select(o => o.Name)).ToHashSet();
        Assert.All(graph.Node, node => Assert.Contains(node.Output, read.Contains));
        Assert.All(graph.Initializer, tensor => Assert.Contains(tensor.Name, read));
    }

    [Fact]
    public void Nodes_carry_layer_manager_and_the_source_nodes_attributes()
    {
        var model = ModelFolder.Rewrite(DecoderGraph.Build(Shape));

        var nodes = model.Graph.Node.Where(node => node.OpType == "PrunedGroupQueryAttention").ToList();
        Assert.Equal([0, 1, 2], nodes.Select(node => Read(node, "layer").I));
        Assert.All(nodes, node =>
        {
            Assert.Equal("kvprune", node.Domain);
            Assert.Equal(7, Read(node, "cache_manager").I);
            Assert.Equal(4, Read(node, "num_heads").I);
            Assert.Equal(2, Read(node, "kv_num_heads").I);
            Assert.Equal(1, Read(node, "do_rotary").I);
            Assert.Equal(0.25f, Read(node, "scale").F);
            Assert.Equal(
                [KvPruneOps.SequenceHandlesInput, "total_length", "seqlens_k", "cos_cache", "sin_cache"], node.Input.Skip(3));
            Assert.Single(node.Output);
        });
        Assert.Contains(model.OpsetImport, import => import is { Domain: "kvprune", Version: 1 });
        static AttributeProto Read(NodeProto node, string name) => node.Attribute.Single(a => a.Name == name);
    }

    [Fact]
    public void The_layer_comes_from_the_caches_name_not_from_the_order_of_nodes()
    {
        var model = AttentionGraph.Build(Shape);
        model.Graph.Node.Add([.. model.Graph.Node.Reverse().ToList()]);
        for (var i = 0; i < Shape.Layers; i++)
            model.Graph.Node.RemoveAt(0);

        var layers = ModelFolder.Rewrite(model, LogitsPositions.All).Graph.Node
            .ToDictionary(node => node.Output[0], node => node.Attribute.Single(a => a.Name == "layer").I);

        Assert.Equal(new Dictionary<string, long> { ["output.0"] = 0, ["output.1"] = 1, ["output.2"] = 2 }, layers);
    }

    [Fact]
    public void Casts_and_identities_around_the_cache_go_with_it()
    {
        var model = DecoderGraph.Build(Shape);
        foreach (var node in model.Graph.Node.Where(node => node.OpType == "GroupQueryAttention").ToList())
        {
            // Half-precision files around a float32 operator.
            foreach (var input in new[] { 3, 4 })
            {
                var cast = Node("Cast", node.Input[input], node.Input[input] + "/cast");
                cast.Attribute.Add(GraphBuilder.Attribute("to", (int)DataType.Float));
                var same = Node("Identity", cast.Output[0], cast.Output[0] + "/same");
                model.Graph.Node.Insert(0, cast);
                model.Graph.Node.Insert(1, same);
                node.Input[input] = same.Output[0];
            }

            foreach (var output in new[] { 1, 2 })
            {
                var name = node.Output[output];
                node.Output[output] = name + "/made";
                model.Graph.Node.Add(Node("Identity", node.Output[output], name));
            }
        }

        foreach (var input in model.Graph.Input.Where(input => input.Name.StartsWith("past", StringComparison.Ordinal)))
            input.Type.TensorType.ElemType = (int)DataType.Float16;
        var graph = ModelFolder.Rewrite(model).Graph;

        Assert.Equal(3, graph.Input.Count);
        Assert.Single(graph.Output);
        Assert.DoesNotContain(graph.Node, node => node.OpType == "Identity");
        Assert.DoesNotContain(graph.Node, node => node.Output[0].EndsWith("/cast", StringComparison.Ordinal));
    }

    [Fact]
    public void What_only_fed_the_cache_goes_and_what_nothing_read_before_stays()
    {
        var model = DecoderGraph.Build(Shape);
        var graph = model.Graph;
        graph.Input.Add(GraphBuilder.Value("position_ids", DataType.Int64, "batch_size", "sequence_length"));
        graph.Input.Add(GraphBuilder.Value("unused_after", DataType.Float, 1));
        graph.Initializer.Add(
            new TensorProto { Name = "factor", DataType = (int)DataType.Float, Dims = { 1 }, FloatData = { 1 } });
        var scaled = Node("Mul", "unused_after", "dead");
        scaled.Input.Add("factor");
        graph.Node.Insert(0, scaled);
        graph.ValueInfo.Add(GraphBuilder.Value("dead", DataType.Float, 1));

        var rewritten = ModelFolder.Rewrite(model).Graph;

        Assert.Contains(rewritten.Input, input => input.Name == "position_ids");
        Assert.DoesNotContain(rewritten.Input, input => input.Name == "unused_after");
        Assert.DoesNotContain(rewritten.Initializer, tensor => tensor.Name == "factor");
        Assert.DoesNotContain(rewritten.ValueInfo, value => value.Name == "dead");
    }

    [Fact]
    public void External_weights_and_unknown_fields_stay_as_they_are()
    {
        var model = DecoderGraph.Build(Shape);
        var weight = model.Graph.Initializer.Single(tensor => tensor.Name == "head_weight");
        weight.FloatData.Clear();
        weight.DataLocation = DataLocation.External;
        weight.ExternalData.Add(new StringStringEntryProto { Key = "location", Value = "model.onnx.data" });
        // ModelProto.doc_string, which onnx.proto leaves out
        var doc = new byte[] { 0x32, 3, (byte)'d', (byte)'o', (byte)'c' };
        using var folder = new ModelFolder([.. model.ToByteArray(), .. doc]);
        File.WriteAllBytes(Path.Combine(folder.Folder, "model.onnx.data"), new byte[64 * 40 * sizeof(float)]);

        var bytes = GroupQueryAttentionRewriter.Load(folder.ModelPath).Rewrite(1, LogitsPositions.All);

        var rewritten = ModelProto.Parser.ParseFrom(bytes).Graph.Initializer;
        Assert.Equal(weight, rewritten.Single(tensor => tensor.Name == "head_weight"));
        Assert.True(bytes.AsSpan().IndexOf(doc) >= 0);
    }

    [Fact]
    public void Rotary_caches_that_an_If_chooses_are_cast_inside_its_branches()
    {
        var graph = ModelFolder.Rewrite(DecoderGraph.Build(Shape with { Element = DataType.Float16 }, style: DecoderStyle.ChosenCaches)).Graph;

        var choice = graph.Node.Single(node => node.OpType == "If");
        var attention = graph.Node.Where(node => node.OpType == "PrunedGroupQueryAttention").ToList();
        Assert.Equal(3, attention.Count);
        Assert.All(attention, node => Assert.Equal(choice.Output, node.Input.Skip(6)));
        Assert.All(choice.Subgraphs(), branch => Assert.All(branch.Output, output =>
        {
            Assert.Equal((int)DataType.Float, output.Type.TensorType.ElemType);
            Assert.Equal("Cast", branch.Node.Single(node => node.Output.Contains(output.Name)).OpType);
        }));
    }

    [Fact]
    public void Rotary_caches_that_others_read_too_are_cast_where_they_are_read()
    {
        var model = DecoderGraph.Build(Shape with { Element = DataType.Float16 }, style: DecoderStyle.ChosenCaches);
        model.Graph.Node.Add(Node("Identity", "cos_cache", "seen"));
        model.Graph.Output.Add(GraphBuilder.Value("seen", DataType.Float16, "positions", 8));

        var graph = ModelFolder.Rewrite(model).Graph;

        Assert.Contains(graph.Node, node => node.OpType == "Cast" && node.Input[0] == "cos_cache");
        Assert.DoesNotContain(graph.Node, node => node.OpType == "Cast" && node.Input[0] == "sin_cache");
    }

    [Fact]
    public void Nothing_says_any_more_that_logits_are_float16()
    {
        var model = DecoderGraph.Build(Shape with { Element = DataType.Float16 });
        model.Graph.ValueInfo.Add(model.Graph.Output[0].Clone());

        var graph = ModelFolder.Rewrite(model, LogitsPositions.All).Graph;

        Assert.Equal((int)DataType.Float, graph.Output.Single().Type.TensorType.ElemType);
        Assert.DoesNotContain(graph.ValueInfo, value => value.Name == "logits");
    }

    [Fact]
    public void What_an_attribute_says_by_another_name_for_the_default_is_the_default()
    {
        var model = DecoderGraph.Build(Shape with { Window = 24 });
        foreach (var node in model.Graph.Node.Where(node => node.OpType == "GroupQueryAttention"))
        {
            node.Attribute.Add(GraphBuilder.Attribute("smooth_softmax", -1));
            node.Attribute.Add(GraphBuilder.Attribute("sliding_window_cache", 1));
        }

        var nodes = ModelFolder.Rewrite(model).Graph.Node.Where(node => node.OpType == "PrunedGroupQueryAttention").ToList();

        Assert.Equal(3, nodes.Count);
        Assert.All(nodes, node =>
        {
            Assert.Equal(0, node.Attribute.Single(a => a.Name == "smooth_softmax").I);
            Assert.Equal(24, node.Attribute.Single(a => a.Name == "local_window_size").I);
        });
    }

    [Fact]
    public void The_shape_is_the_graphs()
    {
        Assert.Equal(new KvModelShape(3, 4, 2, 16, 99), ModelFolder.Load(DecoderGraph.Build(Shape)).Shape(99));
    }

    [Fact]
    public void One_rewriter_serves_several_managers()
    {
        var rewriter = ModelFolder.Load(DecoderGraph.Build(Shape));

        var first = rewriter.Rewrite(1, LogitsPositions.Last);
        Assert.NotEqual(first, rewriter.Rewrite(2, LogitsPositions.Last));
        Assert.Equal(first, rewriter.Rewrite(1, LogitsPositions.Last));
    }

    private static NodeProto Node(string opType, string input, string output) =>
        new() { Name = output, OpType = opType, Input = { input }, Output = { output } };
}
