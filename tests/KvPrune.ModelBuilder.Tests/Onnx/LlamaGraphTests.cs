using KvPrune.ModelBuilder.Onnx;
using KvPrune.ModelBuilder.Synthetic;
using Microsoft.ML.OnnxRuntime;

namespace KvPrune.ModelBuilder.Tests.Onnx;

public sealed class LlamaGraphTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public static TheoryData<int, int, int, bool, double> Shapes => new()
    {
        { 4, 4, 64, true, 500_000 },
        { 8, 2, 64, false, 10_000 },
        { 8, 1, 128, true, 10_000 },
        { 6, 2, 96, false, 500_000 },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Prompt_and_decode_steps_equal_a_double_precision_forward(int queryHeads, int kvHeads, int headSize, bool tied, double theta)
    {
        var shape = LlamaShape.Tiny.WithHeads(queryHeads, kvHeads, headSize) with { TiedEmbeddings = tied, RopeTheta = theta };
        var random = new Random(headSize);
        int[] prompt = [.. Enumerable.Range(0, 24).Select(_ => random.Next(shape.Vocabulary))];
        RandomLlama.Build(_folder["model"], shape, seed: 11);
        using var decoder = new StockDecoder(_folder["model"]);
        var reference = new ReferenceLlama(shape, new RandomWeights(11));

        var (expected, actual) = (reference.Append(prompt), decoder.Append(prompt));
        AssertClose(expected, actual);
        for (var step = 0; step < 4; step++)
        {
            var next = random.Next(shape.Vocabulary);
            AssertClose(expected = reference.Append(next), decoder.Append(next));
        }

        // The inputs are worth the comparison: logits that spread, and do not depend on the last token alone.
        Assert.InRange(Deviation(expected), 0.5, 8);
        Assert.True(expected.Zip(new ReferenceLlama(shape, new RandomWeights(11)).Append(prompt[0]), (a, b) => Math.Abs(a - b)).Max() > 0.5);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Int4_equals_an_fp32_model_of_the_rounded_weights(bool tied)
    {
        // 80 is no multiple of the block size: the last block of a row is padded.
        var shape = LlamaShape.Tiny with { Hidden = 80, TiedEmbeddings = tied };
        var weights = new RandomWeights(3);
        foreach (var (folder, precision, source) in ((string, WeightPrecision, IWeightSource)[])
        [
            ("int4", WeightPrecision.Int4, weights),
            ("rounded", WeightPrecision.Fp32, new RoundedWeights(shape with { TiedEmbeddings = false }, weights, tied)),
            ("fp32", WeightPrecision.Fp32, weights),
        ])
        {
            Directory.CreateDirectory(_folder[folder]);
            // The rounded model needs its output projection apart from the embedding, which int4 keeps in fp32.
            LlamaGraph.Write(
                _folder[folder], folder == "rounded" ? shape with { TiedEmbeddings = false } : shape, precision, source, null, default);
        }

        int[] prompt = [.. Enumerable.Range(30, 40)];
        using var int4 = new StockDecoder(_folder["int4"]);
        using var rounded = new StockDecoder(_folder["rounded"]);
        using var fp32 = new StockDecoder(_folder["fp32"]);
        var (quantized, same, full) = (int4.Append(prompt), rounded.Append(prompt), fp32.Append(prompt));

        // Accuracy level 4 rounds activations to 8 bits per block; 4-bit weights lose more.
        Assert.True(Distance(same, quantized) < 0.08, $"To the rounded weights: {Distance(same, quantized)}.");
        Assert.InRange(Distance(full, quantized), 0.1, 0.6);
    }

    [Fact]
    public void Inputs_outputs_and_names_are_those_of_GenAI()
    {
        RandomLlama.Build(_folder["model"], LlamaShape.Tiny, seed: 1);
        using var session = new InferenceSession(Path.Combine(_folder["model"], "model.onnx"));

        Assert.Equal(
            ["input_ids", "attention_mask", "past_key_values.0.key", "past_key_values.0.value", "past_key_values.1.key", "past_key_values.1.value"],
            session.InputMetadata.Keys);
        Assert.Equal(["logits", "present.0.key", "present.0.value", "present.1.key", "present.1.value"], session.OutputMetadata.Keys);
        Assert.Equal(["batch_size", "", "past_sequence_length", ""], session.InputMetadata["past_key_values.1.key"].SymbolicDimensions);
        Assert.Equal([-1, 2, -1, 32], session.InputMetadata["past_key_values.1.key"].Dimensions);
        Assert.Equal([-1, -1, LlamaShape.Tiny.Vocabulary], session.OutputMetadata["logits"].Dimensions);
    }

    [Fact]
    public void A_cancelled_build_leaves_nothing()
    {
        using var cancellation = new CancellationTokenSource();
        var progress = new CancelAt(cancellation, "model.layers.1.mlp.up_proj.weight");

        Assert.Throws<OperationCanceledException>(
            () => RandomLlama.Build(_folder["model"], LlamaShape.Tiny, 1, progress: progress, cancellationToken: cancellation.Token));

        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    // fp32 against double over two layers; logits have a deviation of about 2.
    private static void AssertClose(double[] expected, float[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        var worst = expected.Zip(actual, (e, a) => Math.Abs(e - a)).Max();
        Assert.True(worst < 5e-5, $"The largest difference is {worst}.");
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

    /// <summary>Linear layers as 4 bits can hold them, everything else unchanged.</summary>
    private sealed class RoundedWeights(LlamaShape shape, IWeightSource weights, bool tied) : IWeightSource
    {
        public void Read(string name, ReadOnlySpan<int> dimensions, Span<float> values)
        {
            Assert.Contains(LlamaTensors.All(shape), t => t.Name == name);
            weights.Read(tied && name == LlamaTensors.OutputHead ? LlamaTensors.Embedding : name, dimensions, values);
            if (name == LlamaTensors.Embedding || dimensions.Length == 1)
                return;
            var (packed, scales) = BlockQuantizer.Quantize(values, dimensions[0], dimensions[1]);
            Unpack(packed, scales, dimensions[0], dimensions[1]).CopyTo(values);
        }
    }

    internal static float[] Unpack(byte[] packed, float[] scales, int rows, int columns)
    {
        var blocks = (columns + 31) / 32;
        var values = new float[rows * columns];
        for (var i = 0; i < values.Length; i++)
        {
            var (row, column) = (i / columns, i % columns);
            var both = packed[(((row * blocks) + (column / 32)) * 16) + (column % 32 / 2)];
            var q = column % 2 == 0 ? both & 15 : both >> 4;
            values[i] = scales[(row * blocks) + (column / 32)] * (q - 8);
        }

        return values;
    }
}
