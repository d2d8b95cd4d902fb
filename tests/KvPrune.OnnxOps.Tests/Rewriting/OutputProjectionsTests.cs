using System.Reflection;
using KvPrune.ModelBuilder;
using KvPrune.OnnxOps.Onnx;
using KvPrune.OnnxOps.Tests.Graphs;
using static KvPrune.OnnxOps.Onnx.TensorProto.Types;

namespace KvPrune.OnnxOps.Tests.Rewriting;

/// <summary>Gram matrices of output projections against ONNX Runtime's products with the identity matrix.</summary>
public class OutputProjectionsTests
{
    private static readonly AttentionShape Shape = new(4, 2, 32);
    private static readonly int Width = Shape.QueryWidth;

    // Ways to write the product of 'attention.0', [b, t, 128] to [b, t, 128], by what they do to a model.
    private static readonly Dictionary<string, Action<GraphBuilder>> Forms = new()
    {
        ["Gemm"] = graph => Replace(graph, g => g.Node("Gemm", "mixed", [Flat(g), Dense(g, Width, Width)])),
        ["Gemm, transposed and scaled"] = graph => Replace(
            graph, g => g.Node("Gemm", "mixed", [Flat(g), Dense(g, Width, Width)], ("transB", 1), ("alpha", 0.5f))),
        ["wide"] = graph => Replace(graph, g => g.Node("MatMul", "mixed", ["attention.0", Dense(g, Width, 300)])),
        ["Transpose"] = graph => Replace(
            graph, g => g.Node("MatMul", "mixed", ["attention.0", g.Node("Transpose", "turned", [Dense(g, 70, Width)])])),
        ["Identity"] = graph => Replace(
            graph, g => g.Node("MatMul", "mixed", [g.Node("Identity", "same", ["attention.0"]), Dense(g, Width, Width)])),
        ["bfloat16 behind a Cast"] = graph => Replace(graph, g => g.Node(
            "MatMul", "mixed", ["attention.0", g.Node("Cast", "cast", [BFloat16s(g, Width, Width)], ("to", (int)DataType.Float))])),
        ["float16 behind a Cast"] = graph => Replace(graph, g =>
        {
            var weight = g.Values("weight", DataType.Float16, Random(Width * Width), Width, Width);
            return g.Node("MatMul", "mixed", ["attention.0", g.Node("Cast", "cast", [weight], ("to", (int)DataType.Float))]);
        }),
        ["4 bits, zero points"] = graph => Replace(graph, g => Blocks(g, bits: 4, blockSize: 32, outputs: 100, zeroPoints: true)),
        ["4 bits"] = graph => Replace(graph, g => Blocks(g, bits: 4, blockSize: 16, outputs: 300, zeroPoints: false)),
        ["8 bits, zero points"] = graph => Replace(graph, g => Blocks(g, bits: 8, blockSize: 32, outputs: 90, zeroPoints: true)),
        ["8 bits"] = graph => Replace(graph, g => Blocks(g, bits: 8, blockSize: 64, outputs: 90, zeroPoints: false)),
        ["int8 by columns"] = graph => Replace(graph, g => Linear(g, DataType.Int8, Width, 90, [90], 1, 0)),
        ["uint8 by rows, transposed"] = graph => Replace(graph, g => Linear(g, DataType.Uint8, 90, Width, [90], 0, 0)),
        ["int4 in blocks of inputs"] = graph => Replace(graph, g => Linear(g, DataType.Int4, Width, 90, [4, 90], 0, 32)),
        ["uint4 in blocks, transposed"] = graph => Replace(graph, g => Linear(g, DataType.Uint4, 91, Width, [91, 4], 1, 32)),
        ["int8 with one scale"] = graph => Replace(graph, g => Linear(g, DataType.Int8, Width, 90, [], 1, 0)),
    };

    public static TheoryData<string> FormNames => [.. Forms.Keys];

    public static string BundledModel { get; } = Path.Combine(
        typeof(OutputProjectionsTests).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "RepositoryRoot").Value!,
        "models", "tiny-retrieval-llama", "model.onnx");

    [Theory]
    [MemberData(nameof(FormNames))]
    public void Every_form_of_product_is_read(string form)
    {
        var model = DecoderGraph.Build(Shape, seed: 3);
        var graph = new GraphBuilder(model);
        Forms[form](graph);
        using var folder = new ModelFolder(model);
        Compare(folder.ModelPath, Shape.KvHeads, Shape.HeadSize, layer: 0, "attention.0", "mixed", 1e-5);
    }

    [Theory]
    [InlineData(WeightPrecision.Fp32, "llama", 1e-5)]
    [InlineData(WeightPrecision.Fp16, "llama", 1e-5)]
    [InlineData(WeightPrecision.Int4, "llama", 1e-5)]
    [InlineData(WeightPrecision.Fp32, "gemma2", 1e-5)]
    [InlineData(WeightPrecision.Fp16, "phi3", 1e-5)]
    [InlineData(WeightPrecision.Int4, "multi-head", 1e-5)]
    public void Model_folders_are_read(WeightPrecision precision, string family, double tolerance)
    {
        var shape = family switch
        {
            "gemma2" => ModelShapes.TinyOf(Architecture.Gemma2),
            "phi3" => ModelShapes.TinyOf(Architecture.Phi3),
            "multi-head" => ModelShapes.Tiny.WithHeads(4, 4, 32),
            _ => ModelShapes.Tiny.WithHeads(6, 2, 64),
        };
        var layout = family == "multi-head" ? AttentionLayout.MultiHead : AttentionLayout.Packed;
        var folder = Directory.CreateTempSubdirectory("kvprune-");
        try
        {
            var path = Path.Combine(folder.FullName, "model");
            RandomModel.Build(
                path,
                shape,
                seed: 5,
                new BuildOptions { Precision = precision, Attention = layout },
                cancellationToken: TestContext.Current.CancellationToken);
            path = Path.Combine(path, "model.onnx");
            for (var layer = 0; layer < shape.Layers; layer++)
                CompareBuilt(path, shape.KvHeads, shape.HeadSize, layer, tolerance);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public void The_bundled_model_is_read_and_its_manager_gets_every_layer()
    {
        var projections = OutputProjections.Open(BundledModel);
        var shape = GroupQueryAttentionRewriter.Load(BundledModel).Shape(4096);
        Assert.Equal(shape.Layers, projections.Layers);
        CompareBuilt(BundledModel, shape.KvHeads, shape.HeadSize, layer: shape.Layers - 1, 1e-4);

        using var manager = new KvCacheManager(shape);
        projections.GiveTo(manager);
        Assert.Equal(4L * shape.Layers * shape.KvHeads * shape.HeadSize * shape.HeadSize, manager.GetStatistics().WeightBytes);
        var again = Assert.Throws<KvCacheException>(() => projections.GiveTo(manager));
        Assert.Contains("layer 0", again.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("Add", "goes to node '/mixed/Add' (Add)")]
    [InlineData("two", "both multiply")]
    [InlineData("changing", "not constant")]
    [InlineData("narrow", "takes 96 channels, heads and channels make 128")]
    [InlineData("integers", "type Int32")]
    [InlineData("order", "g_idx")]
    [InlineData("short", "its node's attributes make")]
    [InlineData("infinite", "not finite")]
    public void What_cannot_be_used_is_refused_naming_the_attention_node(string form, string words)
    {
        var model = DecoderGraph.Build(Shape, seed: 3);
        var graph = new GraphBuilder(model);
        Replace(graph, g => form switch
        {
            "Add" => g.Node("Add", "mixed", ["attention.0", Dense(g, 1, Width)]),
            "two" => g.Node("Add", "mixed", [
                g.Node("MatMul", "one", ["attention.0", Dense(g, Width, Width)]), g.Node("MatMul", "two", ["attention.0", "weight"])]),
            "changing" => g.Node("MatMul", "mixed", ["attention.0", g.Node("Neg", "changed", [Dense(g, Width, Width)])]),
            "narrow" => g.Node("MatMul", "mixed", [Flat(g, 96), Dense(g, 96, Width)]),
            "integers" => g.Node("MatMul", "mixed", ["attention.0", Integers(g, "weight", DataType.Int32, Width, Width)]),
            "order" => Blocks(g, 4, 32, 100, zeroPoints: true, "order"),
            "short" => Blocks(g, 4, 32, 100, zeroPoints: true, declared: 101),
            _ => g.Node("MatMul", "mixed", ["attention.0", Dense(g, Width, Width, float.PositiveInfinity)]),
        });
        using var folder = new ModelFolder(model);
        var projections = OutputProjections.Open(folder.ModelPath);
        var refusal = Assert.Throws<ModelRewriteException>(() => projections.Gram(0));
        Assert.Contains(words, refusal.Message, StringComparison.Ordinal);
        Assert.Contains(folder.ModelPath, refusal.Message, StringComparison.Ordinal);
        Assert.Contains("node '/attention.0/GroupQueryAttention'", refusal.Message, StringComparison.Ordinal);
        using var manager = new KvCacheManager(new KvModelShape(1, Shape.QueryHeads, Shape.KvHeads, Shape.HeadSize, 512));
        Assert.Throws<ModelRewriteException>(() => projections.GiveTo(manager));
        Assert.Equal(0, manager.GetStatistics().WeightBytes);
    }

    private static void CompareBuilt(string path, int kvHeads, int headSize, int layer, double tolerance)
    {
        var graph = ModelProto.Parser.ParseFrom(File.ReadAllBytes(path)).Graph;
        var attention = graph.Node.Single(node => node.Output.Contains($"present.{layer}.key"));
        var product = graph.Node.Single(node => node.Input.Contains(attention.Output[0]));
        Compare(path, kvHeads, headSize, layer, attention.Output[0], product.Output[0], tolerance);
    }

    private static void Compare(
        string path, int kvHeads, int headSize, int layer, string attended, string projected, double tolerance)
    {
        var model = OutputProjections.Open(path);
        var actual = model.Gram(layer);
        var inputs = GroupQueryAttentionRewriter.Load(path).Shape(512).QueryHeads * headSize;
        var expected = ProjectionOracle.Gram(ProjectionOracle.Weights(path, attended, projected, inputs), kvHeads, headSize);
        Assert.Equal(expected.Length, actual.Length);
        var largest = expected.Max(Math.Abs);
        Assert.True(largest > 0);
        for (var i = 0; i < actual.Length; i++)
            Assert.True(Math.Abs(actual[i] - expected[i]) <= tolerance * largest, $"entry {i}: {actual[i]} in place of {expected[i]}");
    }

    // Puts the node that makes 'mixed' in the place of the decoder's own product.
    private static void Replace(GraphBuilder graph, Func<GraphBuilder, string> product)
    {
        var nodes = graph.Model.Graph.Node;
        var old = nodes.Single(node => node.Output[0] == "o.0");
        var at = nodes.IndexOf(old);
        var reader = nodes.Single(node => node.Input.Contains("o.0"));
        nodes.Remove(old);
        var rest = nodes.Skip(at).ToArray();
        while (nodes.Count > at)
            nodes.RemoveAt(at);
        product(graph);
        nodes.Add(rest);
        reader.Input[reader.Input.IndexOf("o.0")] = "mixed";
    }

    private static float[] Random(int count)
    {
        var random = new Random(count);
        return [.. Enumerable.Range(0, count).Select(_ => (float)(random.NextDouble() - 0.5))];
    }

    private static string Flat(GraphBuilder graph, int width = 128) =>
        graph.Node("Reshape", "flat", ["attention.0", graph.Int64s("flat_shape", [-1, width], 2)]);

    private static string Dense(GraphBuilder graph, int rows, int columns, float? last = null)
    {
        var values = Random(rows * columns);
        values[^1] = last ?? values[^1];
        return graph.Floats("weight", values, rows, columns);
    }

    private static string BFloat16s(GraphBuilder graph, int rows, int columns)
    {
        var tensor = new TensorProto { Name = "weight", DataType = (int)DataType.Bfloat16 };
        tensor.Dims.Add([rows, columns]);
        tensor.Int32Data.Add(Random(rows * columns).Select(x => (int)(BitConverter.SingleToUInt32Bits(x) >> 16)));
        graph.Model.Graph.Initializer.Add(tensor);
        return tensor.Name;
    }

    private static string Integers(GraphBuilder graph, string name, DataType type, params long[] dims)
    {
        var count = dims.Aggregate(1L, (product, dim) => product * dim);
        var random = new Random((int)count);
        var tensor = new TensorProto { Name = name, DataType = (int)type };
        tensor.Dims.Add(dims);
        var bytes = new byte[type switch
        {
            DataType.Int4 or DataType.Uint4 => (count + 1) / 2,
            DataType.Int32 => 4 * count,
            _ => count,
        }];
        random.NextBytes(bytes);
        tensor.RawData = Google.Protobuf.ByteString.CopyFrom(bytes);
        graph.Model.Graph.Initializer.Add(tensor);
        return name;
    }

    private static string Blocks(
        GraphBuilder graph, int bits, int blockSize, int outputs, bool zeroPoints, string order = "", int? declared = null)
    {
        var blocks = Width / blockSize;
        Integers(graph, "numbers", DataType.Uint8, outputs, blocks, blockSize * bits / 8);
        graph.Floats("scales", Random(outputs * blocks), outputs, blocks);
        string[] optional = zeroPoints
            ? [Integers(graph, "zero_points", DataType.Uint8, outputs, ((blocks * bits) + 7) / 8)] : order.Length > 0 ? [""] : [];
        if (order.Length > 0)
            optional = [.. optional, graph.Int64s(order, [.. Enumerable.Range(0, Width).Select(i => (long)i)], Width)];
        graph.Node(
            "MatMulNBits",
            "com.microsoft",
            ["mixed"],
            ["attention.0", "numbers", "scales", .. optional],
            ("bits", bits), ("block_size", blockSize), ("K", Width), ("N", declared ?? outputs));
        return "mixed";
    }

    // DequantizeLinear over [rows, columns], transposed where the columns are the inputs.
    private static string Linear(GraphBuilder graph, DataType type, int rows, int columns, long[] scales, int axis, int blockSize)
    {
        Integers(graph, "numbers", type, rows, columns);
        graph.Floats("scales", Random((int)scales.Aggregate(1L, (product, dim) => product * dim)), scales);
        (string, object)[] attributes = blockSize > 0 ? [("axis", axis), ("block_size", blockSize)] : [("axis", axis)];
        graph.Node("DequantizeLinear", "weight", ["numbers", "scales", Integers(graph, "zero_points", type, scales)], attributes);
        var weight = rows == Width ? "weight" : graph.Node("Transpose", "turned", ["weight"]);
        return graph.Node("MatMul", "mixed", ["attention.0", weight]);
    }
}
