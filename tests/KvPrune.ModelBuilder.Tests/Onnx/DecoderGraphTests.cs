using KvPrune.ModelBuilder.Onnx;
using KvPrune.ModelBuilder.Synthetic;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.ModelBuilder.Tests.Onnx;

public sealed class DecoderGraphTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Theory]
    [MemberData(nameof(Variant.Names), MemberType = typeof(Variant))]
    public void Prompt_and_decode_steps_equal_a_double_precision_forward(string name)
    {
        var (shape, attention) = Variant.All[name];
        var weights = new RandomWeights(11, shape.Architecture);
        RandomModel.Build(_folder["model"], shape, seed: 11, new BuildOptions { Attention = attention });

        // fp32 against double over two layers; logits have a deviation of about 2.
        AssertEquivalent(shape, weights, tolerance: 5e-5);
    }

    [Theory]
    [InlineData("llama 8/2/64 untied")]
    [InlineData("llama multi-head")]
    [InlineData("qwen2")]
    [InlineData("qwen3")]
    [InlineData("phi3")]
    [InlineData("gemma2")]
    public void Fp16_models_are_within_fp16_of_a_double_precision_forward(string name)
    {
        var (shape, attention) = Variant.All[name];
        var weights = new RandomWeights(11, shape.Architecture);
        RandomModel.Build(_folder["model"], shape, seed: 11, new BuildOptions { Precision = WeightPrecision.Fp16, Attention = attention });

        // Rounding to 11 bits at every node of two layers; a wrong node is off by 0.5 and more.
        AssertEquivalent(shape, weights.Select((_, _, values) => [.. values.Select(v => (float)(Half)v)]), tolerance: 0.06);
    }

    private void AssertEquivalent(ModelShape shape, IWeightSource weights, double tolerance)
    {
        var random = new Random(shape.HeadSize);
        // Past every window, and short of the original context of LongRoPE, which the last steps go past.
        int[] prompt = [.. Enumerable.Range(0, 62).Select(_ => random.Next(shape.Vocabulary))];
        using var decoder = new StockDecoder(_folder["model"]);
        var reference = new ReferenceDecoder(shape, weights);

        var (expected, actual) = (reference.Append(prompt), decoder.Append(prompt));
        AssertClose(expected, actual, tolerance);
        for (var step = 0; step < 4; step++)
        {
            var next = random.Next(shape.Vocabulary);
            AssertClose(expected = reference.Append(next), decoder.Append(next), tolerance);
        }

        // The inputs are worth the comparison: logits that spread, and do not depend on the last token alone.
        Assert.InRange(Deviation(expected), 0.5, 8);
        Assert.True(expected.Zip(new ReferenceDecoder(shape, weights).Append(prompt[0]), (a, b) => Math.Abs(a - b)).Max() > 0.5);
    }

    // Each feature matters for the logits that the tests above compare: without it they are far off.
    [Theory]
    [InlineData("mistral")]
    [InlineData("llama3 rope")]
    [InlineData("linear rope")]
    [InlineData("phi3")]
    [InlineData("gemma2")]
    [InlineData("gemma2 attention cap")]
    [InlineData("gemma2 logit cap")]
    [InlineData("gemma2 scalar")]
    [InlineData("qwen2 window in layer 1")]
    public void Dropping_a_feature_changes_the_logits(string name)
    {
        var shape = Variant.All[name.StartsWith("gemma2", StringComparison.Ordinal) ? "gemma2" : name].Shape;
        var without = name switch
        {
            "gemma2 attention cap" => shape with { AttentionSoftcap = null },
            "gemma2 logit cap" => shape with { LogitSoftcap = null },
            "gemma2 scalar" => shape with { QueryScalar = null },
            "phi3" => shape with { PartialRotaryFactor = 1, RopeScaling = null },
            _ => shape with { SlidingWindow = null, RopeScaling = null },
        };
        var random = new Random(5);
        int[] prompt = [.. Enumerable.Range(0, 62).Select(_ => random.Next(shape.Vocabulary))];
        var weights = new RandomWeights(11, shape.Architecture);

        var (with, dropped) = (new ReferenceDecoder(shape, weights).Append(prompt), new ReferenceDecoder(without, weights).Append(prompt));

        Assert.True(with.Zip(dropped, (a, b) => Math.Abs(a - b)).Max() > 0.05);
    }

    [Theory]
    [InlineData(true, 32, WeightPrecision.Int4)]
    [InlineData(false, 32, WeightPrecision.Int4)]
    [InlineData(true, 128, WeightPrecision.Int4)]
    [InlineData(true, 32, WeightPrecision.Int4Fp16)]
    public void Int4_equals_an_fp32_model_of_the_rounded_weights(bool tied, int blockSize, WeightPrecision precision)
    {
        // 80 is no multiple of the block size: the last block of a row is padded.
        var shape = ModelShapes.Tiny with { Hidden = 80, TiedEmbeddings = tied };
        var weights = new RandomWeights(3);
        // The rounded model needs its output projection apart from the embedding, which int4 keeps in fp32.
        var apart = shape with { TiedEmbeddings = false };
        var rounded = weights.Select((name, dimensions, values) =>
        {
            if (tied && name == ModelTensors.OutputHead)
                values = weights.Read(ModelTensors.Embedding, dimensions);
            if (name == ModelTensors.Embedding || dimensions.Length == 1)
                return values;
            var (packed, scales) = BlockQuantizer.Quantize(values, dimensions[0], dimensions[1], blockSize);
            return Unpack(packed, scales, dimensions[0], dimensions[1], blockSize);
        });
        GraphFolder.Write(_folder["int4"], shape, weights, new BuildOptions { Precision = precision, BlockSize = blockSize });
        GraphFolder.Write(_folder["rounded"], apart, rounded);
        GraphFolder.Write(_folder["fp32"], shape, weights);

        int[] prompt = [.. Enumerable.Range(30, 40)];
        using var int4 = new StockDecoder(_folder["int4"]);
        using var same = new StockDecoder(_folder["rounded"]);
        using var fp32 = new StockDecoder(_folder["fp32"]);
        var (quantized, expected, full) = (int4.Append(prompt), same.Append(prompt), fp32.Append(prompt));

        // Accuracy level 4 rounds activations to 8 bits per block; 4-bit weights lose more.
        Assert.True(Distance(expected, quantized) < 0.08, $"To the rounded weights: {Distance(expected, quantized)}.");
        Assert.InRange(Distance(full, quantized), 0.1, 0.7);
    }

    [Theory]
    [InlineData(WeightPrecision.Fp32, 1_000)]
    [InlineData(WeightPrecision.Fp16, 10_000)]
    [InlineData(WeightPrecision.Int4, 10_000)]
    [InlineData(WeightPrecision.Int4, 1)]
    public void Tensors_written_in_many_blocks_are_the_same(WeightPrecision precision, int blockElements)
    {
        var shape = ModelShapes.TinyOf(Architecture.Phi3);
        var options = new BuildOptions { Precision = precision };
        GraphFolder.Write(_folder["whole"], shape, new RandomWeights(1), options);

        GraphFolder.Write(_folder["blocks"], shape, new RandomWeights(1), options, new WriteLimits(blockElements));

        Assert.True(File.ReadAllBytes(_folder["whole/model.onnx.data"]).AsSpan().SequenceEqual(File.ReadAllBytes(_folder["blocks/model.onnx.data"])));
    }

    [Fact]
    public void A_weight_too_large_for_fp16_is_named()
    {
        var weights = new RandomWeights(1).Select((name, _, values) => name.Contains("1.mlp.up", StringComparison.Ordinal) ? [1e5f, .. values[1..]] : values);

        var error = Assert.Throws<ModelSourceException>(
            () => GraphFolder.Write(_folder["m"], ModelShapes.Tiny, weights, new BuildOptions { Precision = WeightPrecision.Fp16 }));

        Assert.Equal("model.layers.1.mlp.up_proj.weight", error.Entry);
    }

    [Fact]
    public void Inputs_outputs_and_names_are_those_of_GenAI()
    {
        RandomModel.Build(_folder["model"], ModelShapes.Tiny, seed: 1);
        using var session = new InferenceSession(Path.Combine(_folder["model"], "model.onnx"));

        Assert.Equal(
            ["input_ids", "attention_mask", "past_key_values.0.key", "past_key_values.0.value", "past_key_values.1.key", "past_key_values.1.value"],
            session.InputMetadata.Keys);
        Assert.Equal(["logits", "present.0.key", "present.0.value", "present.1.key", "present.1.value"], session.OutputMetadata.Keys);
        Assert.Equal(["batch_size", "", "past_sequence_length", ""], session.InputMetadata["past_key_values.1.key"].SymbolicDimensions);
        Assert.Equal([-1, 2, -1, 32], session.InputMetadata["past_key_values.1.key"].Dimensions);
        Assert.Equal([-1, -1, ModelShapes.Tiny.Vocabulary], session.OutputMetadata["logits"].Dimensions);
    }

    [Fact]
    public void A_cancelled_build_leaves_nothing()
    {
        using var cancellation = new CancellationTokenSource();
        var progress = new CancelAt(cancellation, "model.layers.1.mlp.up_proj.weight");

        Assert.Throws<OperationCanceledException>(
            () => RandomModel.Build(_folder["model"], ModelShapes.Tiny, 1, progress: progress, cancellationToken: cancellation.Token));

        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    private static void AssertClose(double[] expected, float[] actual, double tolerance)
    {
        Assert.Equal(expected.Length, actual.Length);
        var worst = expected.Zip(actual, (e, a) => Math.Abs(e - a)).Max();
        Assert.True(worst < tolerance, $"The largest difference is {worst}.");
    }

    private static double Deviation(double[] values) => Math.Sqrt(values.Average(v => v * v));

    private static double Distance(float[] expected, float[] actual) =>
        Math.Sqrt(expected.Zip(actual, (e, a) => Math.Pow(e - a, 2)).Sum() / expected.Sum(e => Math.Pow(e, 2)));

    public void Dispose() => _folder.Dispose();

    private sealed class CancelAt(CancellationTokenSource cancellation, string tensor) : IProgress<BuildProgress>
    {
        public void Report(BuildProgress value)
        {
            if (value.Tensor == tensor)
                cancellation.Cancel();
        }
    }

    internal static float[] Unpack(byte[] packed, float[] scales, int rows, int columns, int blockSize)
    {
        var blocks = (columns + blockSize - 1) / blockSize;
        var values = new float[rows * columns];
        for (var i = 0; i < values.Length; i++)
        {
            var (row, column) = (i / columns, i % columns);
            var block = (row * blocks) + (column / blockSize);
            var both = packed[(block * blockSize / 2) + (column % blockSize / 2)];
            var q = column % 2 == 0 ? both & 15 : both >> 4;
            values[i] = scales[block] * (q - 8);
        }

        return values;
    }
}
