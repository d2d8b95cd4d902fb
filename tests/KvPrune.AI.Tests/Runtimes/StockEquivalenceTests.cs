using KvPrune.AI.Models;
using KvPrune.AI.Runtimes;
using KvPrune.ModelBuilder;
using KvPrune.ModelBuilder.Tests;
using KvPrune.ModelBuilder.Tests.Onnx;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Tests.Runtimes;

/// <summary>With nothing removed the rewritten model computes what the untouched folder does under stock operators.</summary>
public sealed class StockEquivalenceTests : IDisposable
{
    // Of the largest logit. Both sides run the same matrix products on the same shapes; only attention sums differ.
    private const float Tolerance = 1e-4f;
    private const int GreedyTokens = 200;

    private readonly string _folder = Directory.CreateTempSubdirectory("kvprune-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(1000)] // whole
    [InlineData(100)]
    public void The_bundled_model(int chunkTokens) =>
        AssertEquivalent(BundledModel.Folder, BundledModel.ReferencePrompt.Tokens, chunkTokens);

    [Theory]
    [MemberData(nameof(Variant.Names), MemberType = typeof(Variant))]
    public void Random_models(string name)
    {
        Variant variant = Variant.All[name];
        int[] prompt = Build(variant, WeightPrecision.Fp32);
        AssertEquivalent(Model, prompt, chunkTokens: 1000, greedyTokens: 50);
        // The mask that GenAI's builder writes for MultiHeadAttention takes a prompt in one piece.
        if (variant.Attention != AttentionLayout.MultiHead)
            AssertEquivalent(Model, prompt, chunkTokens: 61, greedyTokens: 50);
    }

    [Theory]
    [InlineData("llama 8/2/64 untied", WeightPrecision.Fp16)]
    [InlineData("llama multi-head", WeightPrecision.Fp16)]
    [InlineData("qwen3", WeightPrecision.Fp16)]
    [InlineData("phi3", WeightPrecision.Fp16)]
    [InlineData("gemma2", WeightPrecision.Fp16)]
    [InlineData("qwen2", WeightPrecision.Int4)]
    [InlineData("qwen2", WeightPrecision.Int4Fp16)]
    public void Random_models_in_fewer_bits(string name, WeightPrecision precision)
    {
        int[] prompt = Build(Variant.All[name], precision);
        // Stock attention rounds to fp16 where the rewritten graph keeps fp32, and int4 products round what they are given to 8 bits.
        AssertEquivalent(Model, prompt, chunkTokens: 1000, greedyTokens: 20, tolerance: 0.02f);
    }

    private string Model => Path.Combine(_folder, "model");

    private int[] Build(Variant variant, WeightPrecision precision)
    {
        RandomModel.Build(Model, variant.Shape, seed: 3, new BuildOptions { Attention = variant.Attention, Precision = precision });
        var random = new Random(variant.Shape.HeadSize);
        return [.. Enumerable.Range(0, 150).Select(_ => random.Next(256))];
    }

    private static void AssertEquivalent(
        string folder, int[] prompt, int chunkTokens, int greedyTokens = GreedyTokens, float tolerance = Tolerance)
    {
        using var stock = new StockDecoder(folder);
        using var pruned = OnnxRuntimeDecoder.Load(GenAIModelFolder.Load(folder), kvByteLimit: null, threads: 1);
        using KvDecoderSequence sequence = pruned.CreateSequence(PruningPolicy.Exact);
        float[] actual = new float[pruned.VocabularySize];
        float[] expected = [];
        sequence.OpenSegment(prompt.Length);
        foreach (int[] chunk in prompt.Chunk(chunkTokens))
        {
            expected = stock.Append(chunk);
            pruned.Prefill(sequence, chunk, actual, CancellationToken.None);
        }
        for (int step = 0; step < greedyTokens; step++)
        {
            float scale = expected.Max(Math.Abs);
            for (int i = 0; i < expected.Length; i++)
            {
                Assert.True(
                    Math.Abs(expected[i] - actual[i]) <= tolerance * scale,
                    $"token {step}: logit {i} is {actual[i]} instead of {expected[i]}");
            }
            int token = StockDecoder.ArgMax(expected);
            float runnerUp = expected.Where((_, i) => i != token).Max();
            // Closer than the tolerance, either of the two is right.
            if (expected[token] - runnerUp > 2 * tolerance * scale) Assert.Equal(token, StockDecoder.ArgMax(actual));
            expected = stock.Append(token);
            pruned.Decode([sequence], [token], actual);
        }
    }
}
