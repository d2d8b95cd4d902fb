using KvPrune.AI.Models;
using KvPrune.AI.Runtimes;
using KvPrune.ModelBuilder;
using KvPrune.ModelBuilder.Tests;
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
    [InlineData(4, 4, 64)]
    [InlineData(8, 2, 64)]
    [InlineData(8, 1, 128)]
    [InlineData(6, 2, 96)]
    public void Random_models(int queryHeads, int kvHeads, int headSize)
    {
        string model = Path.Combine(_folder, "model");
        RandomModel.Build(
            model,
            ModelShapes.Tiny.WithHeads(queryHeads, kvHeads, headSize),
            seed: queryHeads,
            new BuildOptions { Attention = AttentionLayout.Separate });
        var random = new Random(headSize);
        int[] prompt = [.. Enumerable.Range(0, 150).Select(_ => random.Next(256))];
        AssertEquivalent(model, prompt, chunkTokens: 1000);
        AssertEquivalent(model, prompt, chunkTokens: 61);
    }

    private static void AssertEquivalent(string folder, int[] prompt, int chunkTokens)
    {
        using var stock = new StockDecoder(folder);
        using var pruned = OnnxRuntimeDecoder.Load(GenAIModelFolder.Load(folder), kvByteLimit: null, threads: 1);
        using IDecoderSequence sequence = pruned.CreateSequence(PruningPolicy.Exact);
        float[] actual = new float[pruned.VocabularySize];
        float[] expected = [];
        sequence.OpenSegment(prompt.Length);
        foreach (int[] chunk in prompt.Chunk(chunkTokens))
        {
            expected = stock.Append(chunk);
            pruned.Prefill(sequence, chunk, actual, CancellationToken.None);
        }
        for (int step = 0; step < GreedyTokens; step++)
        {
            float scale = expected.Max(Math.Abs);
            for (int i = 0; i < expected.Length; i++)
            {
                Assert.True(
                    Math.Abs(expected[i] - actual[i]) <= Tolerance * scale,
                    $"token {step}: logit {i} is {actual[i]} instead of {expected[i]}");
            }
            int token = StockDecoder.ArgMax(expected);
            float runnerUp = expected.Where((_, i) => i != token).Max();
            // Closer than the tolerance, either of the two is right.
            if (expected[token] - runnerUp > 2 * Tolerance * scale) Assert.Equal(token, StockDecoder.ArgMax(actual));
            expected = stock.Append(token);
            pruned.Decode([sequence], [token], actual);
        }
    }
}
